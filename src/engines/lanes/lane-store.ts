import type { Held, JoinOptions, SeekTarget, Stored } from "../../contracts/messages.ts";
import type { CheckedBatch } from "./batches.ts";
import type { Ranges } from "./ranges.ts";

/**
 * What a `Member` and its lanes need of whatever keeps a topic's groups: one object per topic as it stands there, so that one that was declared anew
 * is another. Failures are `TenonError`s, and nothing is repeated below: who asks does that. Everything is by the store's own clock.
 */
export interface LaneStore {
  /** What people call it, for messages: `Redis`. */
  readonly server: string;
  readonly topic: string;

  /** Makes a member of the group; idempotent for the same member. */
  join(request: JoinRequest): Promise<Joined | Refused>;
  /** Renews the member's session, brings the group's lanes to where they belong, and says which are the member's. */
  renew(group: number, member: string, sessionMs: number): Promise<Report | Refused>;
  /** The member's lanes pass on. Idempotent. Not `orderly`: what it fetched is suspect. */
  leave(group: string, member: string, orderly: boolean): Promise<void>;
  /** What a new owner has to know; `undefined` when another grant, or none, holds the lane. */
  open(grant: Grant): Promise<OpenedLane | undefined>;
  /** The owner gives its lane back. Idempotent. */
  release(grant: Grant, orderly: boolean): Promise<void>;
  /** Calls back with what happens to the topic. During an outage it resolves all the same. Answers how to stop. */
  listen(hear: (news: LaneNews) => void): Promise<() => Promise<void>>;
}

export interface JoinRequest {
  readonly group: string;
  readonly member: string;
  readonly options: JoinOptions;
  /** Where the group starts when it is made; it has been checked. */
  readonly from: SeekTarget;
  /** Whether the group may be made. */
  readonly mayMake: boolean;
}

/** `gone`: the topic; `group`: it is not there; `exists`, `ephemeral`: the group is another member's own, or cannot be one; `ended`: the session. */
export interface Refused {
  readonly refused: "gone" | "group" | "exists" | "ephemeral" | "agreement" | "ended";
}

export interface Joined {
  readonly refused?: undefined;
  /** The group's number; one that is made anew under the same name has another. */
  readonly group: number;
  readonly report: Report;
}

/** What a member is to know. */
export interface Report {
  readonly refused?: undefined;
  /** In how many ms it is worth another look; negative: when the session is renewed. */
  readonly soonestMs: number;
  readonly lanes: readonly ReportedLane[];
}

export interface ReportedLane {
  readonly partition: number;
  readonly fence: number;
  /** It was asked back. */
  readonly revoked: boolean;
}

/** Something may have changed: messages of a partition, members of a group, or anything, as notices may have been missed. */
export type LaneNews = { readonly partition: number } | { readonly group: number } | "missed";

export interface Grant {
  readonly topic: string;
  readonly group: string;
  readonly groupNumber: number;
  readonly partition: number;
  readonly fence: number;
}

export function laneNameOf({ topic, group, partition }: Pick<Grant, "topic" | "group" | "partition">): string {
  return `lane ${topic}/${partition} of group ${group}`;
}

/** A lane as its store shows it to the owner of one grant. `fetch` and `commit` may run beside each other, and each is called one at a time. */
export interface OpenedLane {
  /** Everything below is settled. */
  readonly low: number;
  readonly suspectBelow: number;
  /** By position. */
  readonly held: readonly Held[];
  /** No position from here on was settled before the grant. */
  readonly settledEnd: number;
  /** Whether a position from `low` on was settled before the grant. */
  wasSettled(position: number): boolean;
  /** The next runs from `cursor` on; `undefined` when the grant is superseded. */
  fetch(request: FetchRequest): Promise<Fetched | undefined>;
  /**
   * Records progress, all of it or nothing; answers the lowest unsettled position, or `undefined` when the grant is superseded. The same change may come again
   * after an unknown outcome. `invalid` (see `noSuchPosition`) for a position that does not exist.
   */
  commit(change: LaneChange): Promise<number | undefined>;
  /** Nothing more is asked of it: the grant has ended here, whoever owns the lane now. For stores that hold something for it. */
  end?(): void;
}

export interface FetchRequest {
  readonly cursor: number;
  /** About so many messages and bytes: what is fetched is whole runs. */
  readonly limit: number;
  readonly bytesMax: number;
  /** Nothing of a run that begins so far beyond the lowest unsettled position. */
  readonly windowMax: number;
}

export interface Fetched {
  /** The lowest unsettled position. */
  readonly low: number;
  /** The position that the partition's next message gets. */
  readonly next: number;
  /** In how many ms the next delayed message is due; negative when none is. */
  readonly dueMs: number;
  /** Ascending; the first may begin before the cursor. */
  readonly runs: readonly FetchedRun[];
}

/** Messages whose positions follow one another, and how far they were read. */
export interface FetchedRun {
  /** The position of the message that is read next. */
  readonly position: number;
  /** The position behind its last message. */
  readonly end: number;
  /** What it takes in memory, about. */
  readonly sizeBytes: number;
  /** `undefined`: there is no message at the position, which counts as settled. */
  read(): Stored | undefined;
  /** Goes past one message without making anything of it. */
  skip(): void;
}

export interface LaneChange {
  /** Positions from `low` on, as the owner knows it. */
  readonly settled: Ranges;
  readonly held: ReadonlyMap<number, Held>;
  /** Settled positions that have a held entry. */
  readonly forgotten: readonly number[];
  readonly appends: readonly CheckedBatch[];
}
