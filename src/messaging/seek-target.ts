import { TenonError } from "../contracts/errors.ts";
import type { SeekTarget } from "../contracts/messages.ts";

/** Throws `invalid` for what is no place in the topic. Positions beyond what is kept mean its nearest end. */
export function checkSeekTarget(topic: string, partitions: number, to: SeekTarget): void {
  if (to === "earliest" || to === "now") return;
  if (typeof to === "object" && to !== null) {
    if ("at" in to && Number.isFinite(to.at)) return;
    if ("positions" in to && to.positions instanceof Map) {
      checkPositions(topic, partitions, to.positions);
      return;
    }
  }
  throw new TenonError(
    "invalid",
    `A group of topic "${topic}" cannot start there; give "earliest", "now", { at } with ms since the epoch, or { positions } with a Map.`,
    { fields: { topic } },
  );
}

function checkPositions(topic: string, partitions: number, positions: ReadonlyMap<number, bigint>): void {
  for (const [partition, position] of positions) {
    if (!(Number.isSafeInteger(partition) && partition >= 0 && partition < partitions)) {
      throw new TenonError(
        "invalid",
        `Partition ${partition} of topic "${topic}" does not exist; there are ${partitions}, from 0.`,
        { fields: { topic, partition, partitions } },
      );
    }
    if (typeof position !== "bigint" || position < 0n) {
      throw new TenonError(
        "invalid",
        `The position ${position} of partition ${partition} of topic "${topic}" must be a bigint from 0n, as receipts and contexts give it.`,
        { fields: { topic, partition } },
      );
    }
  }
}
