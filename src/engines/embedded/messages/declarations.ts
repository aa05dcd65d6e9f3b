import { TenonError } from "../../../contracts/errors.ts";
import type { TopicDeclaration } from "../../../contracts/messages.ts";
import { partitionsMax } from "./catalogue.ts";
import { checkName } from "./names.ts";

/** Throws `invalid` when a topic cannot be declared so. */
export function checkDeclaration(name: string, declaration: TopicDeclaration): void {
  const { partitions, groups = [], retentionMs, countMax, whenFull } = declaration;
  checkName("topic", name);
  for (const group of groups) checkName("group", group);
  if (!(Number.isInteger(partitions) && partitions >= 1 && partitions <= partitionsMax)) {
    throw new TenonError("invalid", `topic ${name} needs 1 to ${partitionsMax} partitions, not ${partitions}`);
  }
  if (retentionMs !== undefined && !(typeof retentionMs === "number" && retentionMs >= 0)) {
    throw new TenonError("invalid", `retentionMs of topic ${name} must be a number ≥ 0, not ${retentionMs}`);
  }
  if (countMax !== undefined && !(Number.isSafeInteger(countMax) && countMax >= 1)) {
    throw new TenonError("invalid", `countMax of topic ${name} must be a whole number ≥ 1, not ${countMax}`);
  }
  if (whenFull !== undefined && whenFull !== "refuse" && whenFull !== "evict") {
    throw new TenonError(
      "invalid",
      `whenFull of topic ${name} is "refuse" or "evict", not ${JSON.stringify(whenFull)}`,
    );
  }
}
