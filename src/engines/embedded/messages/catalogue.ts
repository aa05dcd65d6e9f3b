import { Lane } from "./lanes.ts";
import { Queue } from "./queues.ts";

export interface Topic {
  readonly id: number;
  readonly name: string;
  readonly retentionMs: number;
  /** One per partition. */
  readonly queues: readonly Queue[];
  readonly groups: Map<string, Group>;
  /** The journal batch that declared it. */
  readonly batch: number;
}

export interface Group {
  readonly id: number;
  readonly name: string;
  readonly topic: Topic;
  /** One per partition. */
  readonly lanes: readonly Lane[];
  readonly batch: number;
}

export const partitionsMax = 1_024;

/** Topics and groups by name and by number. Numbers are given in the order of declaration and never again. */
export class Catalogue {
  readonly topics = new Map<string, Topic>();
  readonly #queues: Queue[] = [];
  readonly #lanes: Lane[] = [];
  readonly #groups: Group[] = [];

  addTopic(name: string, partitions: number, retentionMs: number, batch: number): Topic {
    if (partitions > partitionsMax) throw new RangeError(`a topic of ${partitions} partitions`);
    const queues: Queue[] = [];
    const topic: Topic = { id: this.topics.size, name, retentionMs, queues, groups: new Map(), batch };
    for (let partition = 0; partition < partitions; partition++) {
      const queue = new Queue(this.#queues.length, topic, partition);
      this.#queues.push(queue);
      queues.push(queue);
    }
    this.topics.set(name, topic);
    return topic;
  }

  /** `starts`: the first offset that the group receives, by partition. */
  addGroup(topic: Topic, name: string, starts: readonly number[], batch: number): Group {
    const lanes: Lane[] = [];
    const group: Group = { id: this.#groups.length, name, topic, lanes, batch };
    this.#groups.push(group);
    for (const queue of topic.queues) {
      const lane = new Lane(this.#lanes.length, group, queue, starts[queue.partition] ?? queue.next);
      this.#lanes.push(lane);
      lanes.push(lane);
      queue.lanes.push(lane);
    }
    topic.groups.set(name, group);
    return group;
  }

  queue(id: number): Queue {
    const queue = this.#queues[id];
    if (queue === undefined) throw new RangeError(`no queue has number ${id}`);
    return queue;
  }

  lane(id: number): Lane {
    const lane = this.#lanes[id];
    if (lane === undefined) throw new RangeError(`no lane has number ${id}`);
    return lane;
  }

  /** In the order of their declaration. */
  get groups(): readonly Group[] {
    return this.#groups;
  }

  get queues(): readonly Queue[] {
    return this.#queues;
  }

  get lanes(): readonly Lane[] {
    return this.#lanes;
  }
}
