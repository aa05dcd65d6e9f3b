import { TenonError } from "../../../contracts/errors.ts";
import type { Seal } from "./partition-head.ts";

/** What is kept of a topic as a whole, as JSON. */
export interface TopicRecord {
  readonly format: 1;
  /** Its number; one that is declared after its removal has another. */
  readonly id: number;
  readonly partitions: number;
  /** `null`: for ever. */
  readonly retentionMs: number | null;
  readonly countMax?: number;
  readonly whenFull?: "evict";
  /** Of a topic that was ever sealed. It counts where it stands in the partitions. */
  readonly seal?: Seal;
  readonly groups: readonly GroupRecord[];
  /** It is going; whoever meets it may finish that. */
  readonly removed?: true;
}

export interface GroupRecord {
  readonly id: number;
  readonly name: string;
  /** It goes with its only member. */
  readonly ephemeral?: true;
}

export function encodeRecord(record: TopicRecord): Buffer {
  return Buffer.from(JSON.stringify(record));
}

export function decodeRecord(bytes: Buffer): TopicRecord {
  try {
    const record = JSON.parse(bytes.toString()) as TopicRecord;
    if (record.format === 1) return record;
  } catch {
    // Told below.
  }
  const text =
    "a topic's record is not what was written; something else writes under this engine's prefix, or another version";
  throw new TenonError("corrupt", text);
}

export function retentionOf({ retentionMs }: TopicRecord): number {
  return retentionMs ?? Number.POSITIVE_INFINITY;
}
