import type { NamedRecord } from "../named-places.ts";

/** What is kept of a topic as a whole. */
export interface TopicRecord extends NamedRecord {
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

export function retentionOf({ retentionMs }: TopicRecord): number {
  return retentionMs ?? Number.POSITIVE_INFINITY;
}
