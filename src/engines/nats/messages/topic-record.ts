import { TenonError } from "../../../contracts/errors.ts";
import type { NamedRecord } from "../named-places.ts";

/** What is kept of a topic as a whole, as JSON. */
export interface TopicRecord extends NamedRecord {
  readonly format: 1;
  readonly partitions: number;
  /** `null`: for ever. */
  readonly retentionMs: number | null;
  readonly countMax?: number;
  readonly whenFull?: "evict";
  readonly groups: readonly GroupRecord[];
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
