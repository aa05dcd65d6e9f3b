import type { BatchRefusal } from "../../lanes/batches.ts";
import { evictionOf } from "../../lanes/eviction.ts";
import { LaneProgress } from "../../lanes/lane-progress.ts";
import type { Transaction } from "../transaction.ts";
import type { MessageCommands } from "./commands.ts";
import type { Limit } from "./terms.ts";

export interface EvictionParts {
  readonly commands: MessageCommands;
  readonly topic: number;
  /** What is being appended to, with what this transaction did to it already. */
  readonly partition: number;
  readonly next: number;
  readonly delayed: number;
}

/**
 * Whether a limited topic takes so many more, under the lock of its row; makes room where the topic evicts: the oldest messages are settled for every group. Lanes are locked after partitions here, the other
 * way round than elsewhere; the server ends a circle, and the transaction is repeated.
 */
export async function makeRoom(
  transaction: Transaction,
  parts: EvictionParts,
  { countMax, evicts }: Limit,
  fresh: number,
): Promise<BatchRefusal | undefined> {
  const { commands, topic } = parts;
  const rows = await transaction.run(commands.kept, [topic]);
  let delayed = 0;
  const kept = rows.map((row) => {
    const own = row.partition === parts.partition;
    delayed += own ? parts.delayed : Number(row.delayed);
    const next = own ? parts.next : Number(row.next);
    // Without groups, nothing waits to be settled.
    const low = own && Number(row.low) === Number(row.next) ? Math.min(next, Number(row.low)) : Number(row.low);
    return { partition: row.partition as number, low, size: next - low };
  });
  const used = kept.reduce((sum, { size }) => sum + size, delayed);
  if (used + fresh <= countMax) return undefined;
  if (!evicts || delayed + fresh > countMax) return { refused: "full", countMax, count: used };
  await settleForAll(
    transaction,
    parts,
    new Map(evictionOf(kept, used + fresh - countMax).map((each) => [each.partition, each.below])),
  );
  return undefined;
}

async function settleForAll(
  transaction: Transaction,
  { commands, topic }: EvictionParts,
  below: ReadonlyMap<number, number>,
): Promise<void> {
  const lanes = await transaction.run(commands.lockLanes, [topic]);
  const moved = lanes.flatMap((row) => {
    const to = below.get(row.partition as number) ?? 0;
    if (to <= Number(row.low)) return [];
    const progress = LaneProgress.decode(row.progress as Buffer);
    progress.settleBelow(to);
    return [{ row, progress }];
  });
  if (moved.length === 0) return;
  await transaction.run(commands.moveLanes, [
    topic,
    moved.map(({ row }) => row.group_id as number),
    moved.map(({ row }) => row.partition as number),
    moved.map(({ progress }) => progress.low),
    moved.map(({ progress }) => progress.encode()),
  ]);
}
