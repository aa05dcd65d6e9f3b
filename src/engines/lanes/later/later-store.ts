import type { Batch, JoinOptions, Membership } from "../../../contracts/messages.ts";
import type { World } from "../../../world/world.ts";

/** A topic as it stands in the engine: one that is declared anew has another number. */
export interface LaterTopic {
  readonly name: string;
  readonly number: number;
  readonly partitions: number;
  /** Of a topic that counts what it keeps: then it decides for what is delayed, too. */
  readonly countMax?: number | undefined;
}

/** Becomes a member of a group. */
export type Join = (topic: string, group: string, options: JoinOptions) => Promise<Membership>;

type Positions = readonly (bigint | undefined)[];

/** What keeping delayed messages needs of an engine's messages: topics that users do not see, which are topics like any other otherwise. */
export interface LaterStore {
  readonly world: World;
  /** The engine's clock, or less. */
  now(): number;
  /** Whether the topic is there; `false` also when what it stands on was deleted behind the engine's back, as far as that is certain. */
  isThere(topic: LaterTopic): Promise<boolean>;
  /** Which levels of the topic are there, whether or not it is itself. */
  levels(topic: LaterTopic): Promise<readonly number[]>;
  /** Makes a level with its group and tells those who listen to the topic. Idempotent. */
  make(topic: LaterTopic, level: number): Promise<void>;
  /** Removes a level; `not-found` when there is none. */
  remove(topic: LaterTopic, level: number): Promise<void>;
  /** Appends to the topic, where what is delayed has places in its producer's sequence at most; `not-found` when it is gone, also when its name is another topic's now. */
  append(topic: LaterTopic, batch: Batch): Promise<Positions>;
  /** The same with messages that were delayed, for which there is room however much is there. */
  deliver(topic: LaterTopic, batch: Batch): Promise<Positions>;
  /** Appends to a level; its name stands in for the topic's. */
  keep(topic: LaterTopic, level: number, batch: Omit<Batch, "topic">): Promise<Positions>;
  /** Becomes a member of a level's group. */
  join(topic: LaterTopic, level: number, options: JoinOptions): Promise<Membership>;
  /** Calls back when levels may have been made, or the topic removed. Answers how to stop. */
  listen(topic: LaterTopic, hear: () => void): () => void;
}

/** What a lane's keeper has in memory at most. */
export interface LaterBounds {
  /** How far beyond the lowest message that waits it looks, in messages. */
  readonly windowMax: number;
  readonly bytesMax: number;
  /** See `spanOf`. */
  readonly unitMs: number;
}
