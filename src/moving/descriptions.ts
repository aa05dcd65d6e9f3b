import { TenonError } from "../contracts/errors.ts";
import type { GroupDescription, TopicDescription } from "../contracts/messages.ts";
import { moveGroup } from "./topic-copier.ts";

export function groupOf({ topic, groups }: TopicDescription, group: string): GroupDescription {
  const found = groups.find((each) => each.group === group);
  if (found !== undefined) return found;
  const text = `group ${group} of topic ${topic} was removed while the topic was moved; move it once more`;
  throw new TenonError("not-found", text, { fields: { topic, group } });
}

/** Whether everything below the ends of the partitions has been copied. */
export function hasReached(description: TopicDescription, ends: readonly bigint[]): boolean {
  const { lanes } = groupOf(description, moveGroup);
  return lanes.every(({ low, lag }, partition) => lag === 0 || low >= ends[partition]!);
}
