import { TenonError } from "../../contracts/errors.ts";

export function topicNotFound(topic: string): TenonError {
  const text = `topic ${topic} is not there: it was never declared, or was removed; declare it first`;
  return new TenonError("not-found", text, { fields: { topic } });
}

export function groupNotFound(topic: string, group: string): TenonError {
  const text = `topic ${topic} has no group ${group}; declare it or consume first`;
  return new TenonError("not-found", text, { fields: { topic, group } });
}

export function ephemeralTaken(topic: string, group: string): TenonError {
  const text = `group ${group} of topic ${topic} is there already, and an ephemeral group has one member only; take another name`;
  return new TenonError("conflict", text, { fields: { topic, group } });
}

export function otherPartitions(topic: string, declared: number, asked: number): TenonError {
  const text = `topic ${topic} has ${declared} partitions, not ${asked}; the count is fixed when a topic is declared first`;
  return new TenonError("conflict", text, { fields: { topic, partitions: declared } });
}

export function noSuchPosition(lane: string, position: bigint): TenonError {
  return new TenonError("invalid", `position ${position} of ${lane} does not exist; commit what was fetched`);
}

/** `next`: the first position that does not exist. */
export function positionBeyond(lane: string, next: number): TenonError {
  const text = `a position of ${lane} does not exist: the next one is ${next}; commit what was fetched`;
  return new TenonError("invalid", text);
}
