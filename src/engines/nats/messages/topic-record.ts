import type { NamedRecord } from "../named-places.ts";
import type { Seal } from "./partition-head.ts";

/** What is kept of a topic as a whole. */
export interface TopicRecord extends NamedRecord {
  readonly partitions: number;
  /** `null`: for ever. */
  readonly retentionMs: number | null;
  readonly countMax?: number;
  readonly whenFull?: "evict";
  /** Of a topic that was ever sealed. It counts where it stands in the partitions. */
  readonly seal?: Seal;
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
