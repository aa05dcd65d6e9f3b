import type { TenonError } from "../../../contracts/errors.ts";
import type { Batch } from "../../../contracts/messages.ts";
import { type CheckedBatch, packChunks, packOne, refusedBatch } from "../../lanes/batches.ts";
import { toPosition } from "../../lanes/positions.ts";
import type { Argument } from "../connection.ts";
import { numberOf, type Reply, refusalOf, textOf } from "./replies.ts";

/** Adds the batch to a script's arguments, as `append.part.lua` reads them; `topic`: which of the script's keys is its topic's. */
export function addBatch(args: Argument[], topic: number, checked: CheckedBatch): void {
  const { partition, messages, producer } = checked.batch;
  args.push(topic, partition, messages.length);
  if (producer === undefined) args.push("", 0, 0);
  else args.push(producer.id, producer.epoch, producer.sequence);
  if (checked.special) {
    args.push(0);
    for (const [index, { id, dueAt }] of messages.entries()) args.push(id ?? "", dueAt ?? "", packOne(checked, index));
    return;
  }
  const chunks = packChunks(checked);
  args.push(chunks.length);
  for (const { count, packed } of chunks) args.push(count, packed);
}

/** The positions that a script answered for the batch. */
export function positionsOf(batch: Batch, answer: unknown): (bigint | undefined)[] {
  if (typeof answer !== "number")
    return (answer as Reply).map((item) => (numberOf(item) < 0 ? undefined : toPosition(numberOf(item))));
  const positions: bigint[] = new Array(batch.messages.length);
  for (let i = 0; i < positions.length; i++) positions[i] = toPosition(answer + i);
  return positions;
}

/** Why a batch was refused, as an error; `undefined` when it was not, or when its topic is gone. */
export function refusedAppend(batch: Batch, answer: unknown): TenonError | undefined {
  if (!Array.isArray(answer)) return undefined;
  const figure = (index: number) => (answer[index] === undefined ? 0 : numberOf(answer[index]));
  switch (refusalOf(answer)) {
    case "partition":
      return refusedBatch(batch, { refused: "partition", partitions: figure(1) });
    case "sealed":
      return refusedBatch(batch, { refused: "sealed", sealed: textOf(answer[1]) });
    case "full":
      return refusedBatch(batch, { refused: "full", countMax: figure(1), count: figure(2) });
    case "fenced":
      return refusedBatch(batch, { refused: "fenced", epoch: figure(1) });
    case "repeated":
      return refusedBatch(batch, { refused: "repeated" });
    case "gap":
      return refusedBatch(batch, { refused: "gap", expected: figure(1) });
  }
  return undefined;
}
