/**
 * What engines share that keep groups and the progress of lanes themselves, beside a log of messages that the server keeps.
 *
 * Two halves meet at `LaneStore` (lane-store.ts):
 *
 *   the client's half, the same everywhere        the store's half, one for each engine
 *   -------------------------------------        -------------------------------------------------------------------
 *   Member: joins, renews its session, makes      Redis: scripts on hashes and sets.
 *     the lanes here those that it is reported    Others: small values under a row lock or compare-and-swap, changed
 *   LaneOwner: fetches runs ahead, hands out        by the state machines of this folder:
 *     what is not settled, within the window        GroupState     members, sessions, who owns which lane
 *   LaneCommits: one change under way, what         LaneProgress   what is settled, what is held
 *     gathers meanwhile is one change               LaneState      a lane as one value: owner, cursor, progress
 *   MemberSession, LaneQueue                        ProducerMarks  one producer in one partition
 *
 * The state machines do no I/O and know no clock: `now` is given, fences are given, and all of them encode to bytes and back. An engine that
 * builds on them needs, for each topic: a number that grows (fences), the lane's fence where a commit can be made conditional on it, and notices
 * (`LaneNews`), of which any may be lost: members look again by themselves.
 *
 * One change of a group: read the value under its lock (or with its revision) → what happened → `balance(now)` → `grant(fences)` → write the value and the
 * `takeTurns()` of its lanes in one atomic step → tell the others if `moved`.
 *
 * Messages are packed in runs (message-format.ts, batches.ts): a run is what a store appends and reads as a whole.
 */

export { ByteReader, ByteWriter } from "../shared/binary.ts";
export { type Appended, AppendQueues } from "./append-queues.ts";
export {
  type BatchRefusal,
  type CheckedBatch,
  checkBatch,
  isDelayed,
  isMisdirected,
  type PackedChunk,
  packChunks,
  packOne,
  refusedBatch,
} from "./batches.ts";
export {
  ephemeralTaken,
  groupNotFound,
  noSuchPosition,
  otherPartitions,
  positionBeyond,
  topicNotFound,
} from "./errors.ts";
export { evictionOf, type KeptMessages } from "./eviction.ts";
export { GroupState, type NewMember } from "./group-state.ts";
export { LaneProgress, type ProgressChange } from "./lane-progress.ts";
export { LaneState, type LaneTurn } from "./lane-state.ts";
export {
  type Fetched,
  type FetchedRun,
  type FetchRequest,
  type Grant,
  type Joined,
  type JoinRequest,
  type LaneChange,
  type LaneNews,
  type LaneStore,
  laneNameOf,
  type OpenedLane,
  type Refused,
  type Report,
  type ReportedLane,
} from "./lane-store.ts";
export { type Copying, copyingOf } from "./later/copying.ts";
export { countWaiting, type WaitingLane } from "./later/counting.ts";
export { Later } from "./later/later.ts";
export { keeperGroup, type LaterPlace, laterName, laterPlaceOf, refuseLaterName } from "./later/later-names.ts";
export type { Join, LaterStore, LaterTopic } from "./later/later-store.ts";
export { levelMax } from "./later/levels.ts";
export { type Joining, Member, type MemberHost } from "./member.ts";
export { Memberships } from "./memberships.ts";
export { Run } from "./message-format.ts";
export { type Positions, ProducerMarks } from "./producer-marks.ts";
export { eachOf, type Ranges, rangesOf } from "./ranges.ts";
export { Retention } from "./retention.ts";
export { SettledWindow } from "./settled-window.ts";
export { checkTarget } from "./targets.ts";
