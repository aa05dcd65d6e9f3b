/**
 * What an engine must do to carry messages: partitioned topics, groups, lanes with fenced progress, delay.
 *
 * A *lane* is one (topic, group, partition). Its progress belongs to the group, never to a member. One member at a time
 * owns it, under a grant whose fence grows. Engines do not retry, batch, decode, validate or trace: the messaging block
 * does that once for all of them. Every failure is a `TenonError`; `outcome: "unknown"` marks a change that may have
 * happened.
 *
 * Frozen: the embedded engine and Redis keep it, and lanes were tried on Kafka and RabbitMQ. From here on it gains capabilities
 * and optional members; what is said today keeps its meaning.
 */
export interface MessageEngine {
  readonly capabilities: MessageCapabilities;

  /**
   * Makes the topic and its groups when they are not there. Idempotent and safe to call concurrently. A group receives
   * every message appended after the declaration that named it first. Another partition count than before: `conflict`. Other settings
   * that are given replace the former ones; those left out stay.
   * Durable when it resolves.
   */
  declare(topic: string, declaration: TopicDeclaration): Promise<void>;

  /** Every declared topic, sorted by name. */
  topics(): Promise<readonly string[]>;

  /**
   * Deletes the topic with its messages, groups and progress, delayed messages and producer marks included. `not-found` when there is none. Its lanes
   * are lost, its memberships end (`nextLane` rejects with `not-found`), and appends answer `not-found`. A topic declared under the same name afterwards shares
   * nothing with it. Durable when it resolves.
   */
  remove(topic: string): Promise<void>;

  /** Deletes a group with its progress; what holds for its lanes and memberships when a topic is removed holds here. */
  removeGroup(topic: string, group: string): Promise<void>;

  /** `not-found` when the topic was never declared, or was removed. Exact at some instant between call and answer. */
  describe(topic: string): Promise<TopicDescription>;

  /**
   * Stores messages of one partition, in order, all or nothing; `invalid` when there are none or they exceed a limit. Answers their positions in the same order; a delayed
   * message has none yet, and an engine that gives positions only on delivery answers `undefined` for all. Durable, as `capabilities.survives` says, when it resolves; visible to lanes only then.
   * The arrays and bytes belong to the engine until it settles. Calls may run concurrently; calls for one partition
   * take effect in the order in which they were made.
   *
   * With `producer` set: a sequence that is already stored is answered with its original positions and stored no
   * second time; one beyond the next expected is refused (`conflict`); one of an older epoch is refused (`lost`).
   * A message whose `id` was stored in this topic within the engine's window is answered with the original position
   * where `deduplicate` is `"id"`; with `undefined` when that one is in another partition or still delayed.
   *
   * `overloaded` when the engine is out of space or the topic at its limit; `outcome` says whether it was applied. `denied` (fields `sealed`: the note) when the
   * topic is sealed: nothing of it was applied, unless its sequence is already stored, which is answered as ever.
   */
  append(batch: Batch): Promise<readonly (bigint | undefined)[]>;

  /**
   * Makes the caller a member of the group. Lanes are spread evenly over the members, moving as few as possible, or as
   * evenly as an engine can that leaves the spreading to its broker; such a one may also grant a lane only once there is a message in it.
   * Joining a group that was not declared declares it. `not-found` when the topic was never declared.
   */
  join(topic: string, group: string, options: JoinOptions): Promise<Membership>;

  /**
   * Sets the group's positions. Every lane of the group that is owned is lost to its owner and granted anew.
   * Held entries are forgotten. `unsupported` where `capabilities.replay` is false.
   */
  seek(topic: string, group: string, to: SeekTarget): Promise<void>;
}

export interface MessageCapabilities {
  /** What a resolved append or commit survives: nothing, the process' crash, the machine's, the loss of a replica. */
  readonly survives: "nothing" | "process" | "machine" | "replicas";
  /** `"id"`: by message id and by producer sequence; `"session"`: by producer sequence; `"none"`. */
  readonly deduplicate: "id" | "session" | "none";
  /** Whether messages can be delayed. */
  readonly delay: boolean;
  /** How late after its due instant a delayed message may become visible on an idle engine, in milliseconds. */
  readonly delayLatenessMs: number;
  /** Whether settled messages can be read again within the retention. */
  readonly replay: boolean;
  /** Whether a commit under a superseded grant is refused. */
  readonly fence: boolean;
  /** Whether a lane's order also holds after an owner vanished. */
  readonly orderAfterCrash: boolean;
  /** Whether `LaneCommit.appends` are stored in the same atomic change as the lane's progress. */
  readonly atomic: boolean;
  /** The largest body plus key plus headers of one message, in bytes. Headers named `tenon-…` do not count: Tenon adds them to copies. */
  readonly messageBytesMax: number;
  /** The largest key, in bytes of UTF-8. */
  readonly keyBytesMax: number;
  readonly partitionsMax: number;
  /** The greatest `JoinOptions.windowMax` (`invalid` above it). */
  readonly windowMax: number;
  /** How many entries a lane can hold at a time. The messaging block keeps no more than this in hand. */
  readonly heldMax: number;
  /** The shortest `JoinOptions.sessionMs` (`invalid` below it). */
  readonly sessionMsMin: number;
  /** What a topic's `countMax` can be had with: nothing (declaring it is `unsupported`), refusal, or also eviction. */
  readonly countLimits: "none" | "refuse" | "evict";
  /** Whether a topic can be sealed (declaring it so is `unsupported` otherwise). */
  readonly seal: boolean;
  /** What the messages of one batch may take together: bodies, keys, headers, and 32 bytes for each message. */
  readonly batchBytesMax: number;
}

export interface TopicDeclaration {
  /** 1 to `capabilities.partitionsMax`; fixed for ever. */
  readonly partitions: number;
  readonly groups?: readonly string[] | undefined;
  /** How long a message is kept after every group has settled it, in milliseconds; the engine's default if left out. */
  readonly retentionMs?: number | undefined;
  /**
   * How many messages may be kept that are not settled: per partition from the lowest unsettled one of the slowest group to the end, and the delayed
   * ones. No limit when left out.
   */
  readonly countMax?: number | undefined;
  /**
   * What an append does that would exceed `countMax`: `"refuse"` (`overloaded`; also when left out), or `"evict"`: the oldest messages of the fullest partition are settled
   * for every group until it fits.
   */
  readonly whenFull?: "refuse" | "evict" | undefined;
  /**
   * Closes the topic for new messages, with a note that says why, of at most 1,024 bytes; "" opens it again. Once the declaration has resolved no message is stored any more, whoever
   * appends it and whenever its call began: what `describe` answers then is the topic's end. Delayed messages that were stored before still come when due, and lanes go on as ever.
   */
  readonly sealed?: string | undefined;
}

export interface TopicDescription {
  readonly topic: string;
  readonly retentionMs: number;
  readonly countMax: number | undefined;
  readonly whenFull: "refuse" | "evict";
  /** The note of a topic that is sealed. */
  readonly sealed?: string | undefined;
  readonly partitions: readonly PartitionDescription[];
  readonly groups: readonly GroupDescription[];
  /** Messages waiting for their due instant. */
  readonly delayedCount: number;
}

export interface PartitionDescription {
  /** The position of the oldest message that is kept; equals `next` when there is none. */
  readonly first: bigint;
  /** The position that the next message will get, or more where positions have gaps. */
  readonly next: bigint;
}

export interface GroupDescription {
  readonly group: string;
  readonly members: number;
  /** Whether it is removed with its only member; engines whose topics can be sealed say so. */
  readonly ephemeral?: boolean | undefined;
  /** One per partition. */
  readonly lanes: readonly LaneDescription[];
}

export interface LaneDescription {
  /** Everything below is settled. */
  readonly low: bigint;
  /** Messages that are not settled. */
  readonly lag: number;
  /** Entries that wait for a retry. */
  readonly held: number;
  /** When the oldest unsettled message was published, by the engine's clock; `undefined` when there is none. */
  readonly oldestPublishedAt: number | undefined;
}

export type MessageHeaders = Readonly<Record<string, string>>;

export interface NewMessage {
  readonly body: Uint8Array;
  readonly key?: string | undefined;
  readonly headers?: MessageHeaders | undefined;
  /** For deduplication by id. At most 255 bytes of UTF-8. */
  readonly id?: string | undefined;
  /** Invisible before this instant of the engine's clock (ms since the epoch); then appended at its partition's end. */
  readonly dueAt?: number | undefined;
}

export interface Batch {
  readonly topic: string;
  readonly partition: number;
  readonly messages: readonly NewMessage[];
  readonly producer?: ProducerMark | undefined;
}

/** Identifies a batch across automatic retries: the same batch carries the same mark. */
export interface ProducerMark {
  /** Unique per producer within the topic, or stable with a growing epoch. At most 255 bytes of UTF-8. */
  readonly id: string;
  /** A higher epoch fences every lower one of the same id in the same topic. */
  readonly epoch: number;
  /** The number of the batch's first message among those of this producer epoch and partition, from 0. */
  readonly sequence: number;
}

export interface JoinOptions {
  /** How long the engine may go without hearing from the member before its lanes pass on, in milliseconds. */
  readonly sessionMs: number;
  /** How long a revoked lane may take to be released before it is lost, in milliseconds. */
  readonly revokeMs: number;
  /** How far beyond a lane's lowest unsettled message `fetch` may go, in messages. */
  readonly windowMax: number;
  /** Where a group that is declared by this call starts. Anything but `"now"` needs `capabilities.replay`. */
  readonly from?: SeekTarget | undefined;
  /**
   * The group is made by this call (`conflict` when it is there), starts now, and is removed with this member, also when its session ends. Nobody else can join or
   * declare it (`conflict`).
   */
  readonly ephemeral?: boolean | undefined;
  /** Members of one group at one time must bring the same (`conflict`): what they agreed on, such as a filter. At most 1,024 bytes; "" when left out. */
  readonly agreement?: string | undefined;
}

/** `at`: the first message stored at or after this instant. `positions`: by partition; partitions left out stay. */
export type SeekTarget =
  | "earliest"
  | "now"
  | { readonly at: number }
  | { readonly positions: ReadonlyMap<number, bigint> };

export interface Membership {
  /**
   * The next lane granted to this member; waits until there is one. Rejects with the signal's reason when it aborts, and
   * with `closed` after `leave` or the engine's close. One call at a time.
   */
  nextLane(options?: { readonly signal?: AbortSignal | undefined }): Promise<Lane>;
  /** Releases every lane and leaves the group. Idempotent. */
  leave(): Promise<void>;
  /**
   * Ends the membership as if its member had vanished: its lanes are lost, and what was fetched is suspect for those who follow. For whoever holds memberships for others
   * and hears nothing of them any more. Idempotent.
   */
  abandon?(): Promise<void>;
}

export interface Lane {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  /** The grant's number: greater than that of every earlier grant of this lane, also across restarts. */
  readonly fence: bigint;
  /** Aborts when the engine asks for the lane back: finish what runs, commit, `release`, within `revokeMs`. */
  readonly revoked: AbortSignal;
  /** Aborts when the lane has passed on. Nothing more can be committed. */
  readonly lost: AbortSignal;
  /** The entries that former owners left, in stored order. */
  readonly held: readonly Held[];
  /**
   * Messages below this position may have been in the hands of an owner that vanished without releasing the lane, or
   * further ones where the engine cannot tell how far that owner came; 0n after an orderly release. The messaging block records their deliveries before it makes them.
   */
  readonly suspectBelow: bigint;

  /**
   * The next messages: first every unsettled one in stored order (held ones included), then new ones. Each is
   * fetched once per grant. Waits until there is at least one; answers fewer than `limit` where they would take more than half a MiB or so. Never goes `windowMax` or more beyond the lowest unsettled
   * message: then it waits for a commit. Rejects with the signal's reason on abort, with `lost` when the lane is lost.
   * One call at a time; may run concurrently with `commit`.
   */
  fetch(limit: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<readonly Stored[]>;

  /**
   * Records progress: all of it or nothing, durable when it resolves. After an unknown outcome the same change may be repeated under the
   * same grant, whether or not it was applied. Positions settled twice and entries held for
   * settled positions are ignored. `lost` when another grant has superseded this one: then nothing of it happened.
   * Several may be under way; they take effect in the order of the calls.
   */
  commit(change: LaneCommit): Promise<void>;

  /** Gives the lane back. What is not settled will be fetched by the next owner. Idempotent. */
  release(): Promise<void>;
}

/** In any order. Where there are many a `BigUint64Array` costs least, as it takes no object for each. */
export type Positions = readonly bigint[] | BigUint64Array;

export interface LaneCommit {
  readonly settled: Positions;
  /** Replaces what was recorded for the same positions. */
  readonly held?: readonly Held[] | undefined;
  /**
   * Stored in the same atomic change where `capabilities.atomic`, else before it. At most one batch per producer and
   * partition (`invalid`).
   */
  readonly appends?: readonly Batch[] | undefined;
}

/** What is remembered of an unsettled message. */
export interface Held {
  readonly position: bigint;
  /** How many times its handler failed. */
  readonly failures: number;
  /** How many deliveries were recorded since without any outcome. */
  readonly deliveries: number;
  /** Not to be delivered again before this instant of the engine's clock; 0: at once. */
  readonly dueAt: number;
}

export interface Stored {
  readonly position: bigint;
  readonly key: string | undefined;
  /** Valid for as long as it is referenced; must not be changed. */
  readonly body: Uint8Array;
  readonly headers: MessageHeaders | undefined;
  readonly id: string | undefined;
  /** When the engine stored it (when it became due, for a delayed one), ms since the epoch by the engine's clock. */
  readonly publishedAt: number;
  /** What it takes in memory, about: with its key, id and headers. The length of the body when left out. */
  readonly sizeBytes?: number | undefined;
}
