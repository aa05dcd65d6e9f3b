import { TenonError } from "../../../contracts/errors.ts";
import { Lane } from "./lanes.ts";
import { Queue } from "./queues.ts";

/** What may be changed by declaring a topic again. */
export interface TopicSettings {
  readonly retentionMs: number;
  /** `Infinity`: no limit. */
  readonly countMax: number;
  readonly whenFull: "refuse" | "evict";
  /** The note of a topic that takes no more messages; "": it does. */
  readonly sealed: string;
}

/** How long a log keeps its records; `Infinity` is for ever. */
export interface LogRetention {
  readonly retentionMs: number;
  readonly retentionBytes: number;
}

/** A topic, or a log: both are queues, of which a topic's are used up by groups, and a log's are kept as its retention says. */
export interface Topic {
  /** The number of its first queue. */
  readonly id: number;
  readonly name: string;
  settings: TopicSettings;
  /** `undefined`: not a log. */
  log: LogRetention | undefined;
  /** One per partition. */
  readonly queues: readonly Queue[];
  readonly groups: Map<string, Group>;
  /** The journal batch that declared or changed it. */
  batch: number;
  /** Messages that wait for their instant, or whose copy is not durable yet. */
  delayedCount: number;
  /** What counts against `countMax`: every queue's `kept`, and the delayed messages that wait. */
  keptCount: number;
  removed: boolean;
}

export interface Group {
  /** The number of its first lane. */
  readonly id: number;
  readonly name: string;
  readonly topic: Topic;
  /** One per partition. */
  readonly lanes: readonly Lane[];
  /** It belongs to one member and is removed with it. */
  readonly ephemeral: boolean;
  readonly batch: number;
  removed: boolean;
}

/** What a log's records go by is its retention; the cleaner need not keep what that lets go. */
const logSettings: TopicSettings = {
  retentionMs: 0,
  countMax: Number.POSITIVE_INFINITY,
  whenFull: "refuse",
  sealed: "",
};

export const partitionsMax = 1_024;
const numbersMax = 2 ** 32;

/**
 * Topics, logs and groups by name, queues and lanes by number. A number is never given again: what older segments say of the queues of a removed
 * topic must not be taken for another's.
 */
export class Catalogue {
  readonly topics = new Map<string, Topic>();
  readonly logs = new Map<string, Topic>();
  readonly #queues = new Map<number, Queue>();
  readonly #lanes = new Map<number, Lane>();
  /** By the number of their first lane, in the order of their declaration. */
  readonly #groups = new Map<number, Group>();
  /** The numbers that come next. */
  nextQueue = 0;
  nextLane = 0;

  addTopic(name: string, partitions: number, settings: TopicSettings, batch: number, id = this.nextQueue): Topic {
    return this.#add(this.topics, name, partitions, { settings, log: undefined, batch, id });
  }

  addLog(name: string, partitions: number, log: LogRetention, batch: number, id = this.nextQueue): Topic {
    return this.#add(this.logs, name, partitions, { settings: logSettings, log, batch, id });
  }

  #add(
    topics: Map<string, Topic>,
    name: string,
    partitions: number,
    { id, settings, log, batch }: Pick<Topic, "id" | "settings" | "log" | "batch">,
  ): Topic {
    if (partitions < 1 || partitions > partitionsMax) throw new RangeError(`a topic of ${partitions} partitions`);
    if (topics.has(name) || this.#queues.has(id)) throw new RangeError("a topic that is there already");
    if (id + partitions > numbersMax) throw new RangeError("the numbers of queues have run out");
    const queues: Queue[] = [];
    const counts = { delayedCount: 0, keptCount: 0, removed: false };
    const topic: Topic = { id, name, settings, log, queues, groups: new Map(), batch, ...counts };
    for (let partition = 0; partition < partitions; partition++) {
      const queue = new Queue(id + partition, topic, partition);
      this.#queues.set(queue.id, queue);
      queues.push(queue);
    }
    this.nextQueue = Math.max(this.nextQueue, id + partitions);
    topics.set(name, topic);
    return topic;
  }

  /** `starts`: the first offset that the group receives, by partition. */
  addGroup(
    topic: Topic,
    name: string,
    starts: readonly number[],
    { ephemeral = false, batch = 0, id = this.nextLane }: { ephemeral?: boolean; batch?: number; id?: number } = {},
  ): Group {
    if (topic.groups.has(name) || this.#lanes.has(id)) throw new RangeError("a group that is there already");
    if (id + topic.queues.length > numbersMax) throw new RangeError("the numbers of lanes have run out");
    const lanes: Lane[] = [];
    const group: Group = { id, name, topic, lanes, ephemeral, batch, removed: false };
    this.#groups.set(id, group);
    for (const queue of topic.queues) {
      const lane = new Lane(id + queue.partition, group, queue, starts[queue.partition] ?? queue.next);
      this.#lanes.set(lane.id, lane);
      lanes.push(lane);
      queue.lanes.push(lane);
      queue.recount();
    }
    this.nextLane = Math.max(this.nextLane, id + lanes.length);
    topic.groups.set(name, group);
    return group;
  }

  removeTopic(topic: Topic): void {
    for (const group of topic.groups.values()) this.removeGroup(group);
    for (const queue of topic.queues) this.#queues.delete(queue.id);
    (topic.log === undefined ? this.topics : this.logs).delete(topic.name);
    topic.removed = true;
  }

  removeGroup(group: Group): void {
    for (const lane of group.lanes) {
      this.#lanes.delete(lane.id);
      lane.queue.lanes.splice(lane.queue.lanes.indexOf(lane), 1);
      lane.queue.recount();
    }
    this.#groups.delete(group.id);
    group.topic.groups.delete(group.name);
    group.removed = true;
  }

  /** Throws when a topic, or a group, of so many partitions cannot be numbered any more. */
  throwIfNumbered(next: number, partitions: number): void {
    if (next + partitions <= numbersMax) return;
    throw new TenonError("overloaded", "the engine has given out all numbers of partitions; open a new directory");
  }

  queue(id: number): Queue {
    const queue = this.#queues.get(id);
    if (queue === undefined) throw new RangeError(`no queue has number ${id}`);
    return queue;
  }

  /** `undefined`: of a topic that was removed. */
  findQueue(id: number): Queue | undefined {
    return this.#queues.get(id);
  }

  lane(id: number): Lane {
    const lane = this.#lanes.get(id);
    if (lane === undefined) throw new RangeError(`no lane has number ${id}`);
    return lane;
  }

  /** By its number. */
  group(id: number): Group {
    const group = this.#groups.get(id);
    if (group === undefined) throw new RangeError(`no group has number ${id}`);
    return group;
  }

  get groups(): readonly Group[] {
    return [...this.#groups.values()];
  }

  get queues(): readonly Queue[] {
    return [...this.#queues.values()];
  }

  get lanes(): readonly Lane[] {
    return [...this.#lanes.values()];
  }
}
