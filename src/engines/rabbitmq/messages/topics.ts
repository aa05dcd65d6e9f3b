import { isCode, TenonError } from "../../../contracts/errors.ts";
import type { LaneDescription, TopicDeclaration, TopicDescription } from "../../../contracts/messages.ts";
import { checkDeclaration } from "../../../contracts/topic-declarations.ts";
import { ephemeralTaken, groupNotFound, otherPartitions, topicNotFound } from "../../lanes/errors.ts";
import type { LaneProgress } from "../../lanes/lane-progress.ts";
import { countWaiting, type WaitingLane } from "../../lanes/later/counting.ts";
import { keeperGroup, laterName, laterPlaceOf } from "../../lanes/later/later-names.ts";
import type { LaterTopic } from "../../lanes/later/later-store.ts";
import { Gone } from "../failures.ts";
import type { HeldValue } from "../locked-values.ts";
import { type TopicNames, topicNamesOf } from "../names.ts";
import { inParallel, upTo } from "../parallel.ts";
import {
  type Catalogue,
  type CatalogueEntry,
  decodeCatalogue,
  decodeTopic,
  encodeCatalogue,
  encodeTopic,
  type GroupEntry,
  type TopicRecord,
} from "./catalogue.ts";
import type { Groups } from "./groups.ts";
import { LaneRecord } from "./lane-record.ts";
import { PartitionHead } from "./partition-head.ts";
import type { MessageParts } from "./parts.ts";

export const partitionsMax = 256;

/** A topic as it stands on the server. One that is declared after its removal is another one. */
export interface Topic {
  readonly name: string;
  readonly id: number;
  readonly partitions: number;
  readonly names: TopicNames;
}

const newRecord: TopicRecord = {
  retentionMs: 0,
  countMax: undefined,
  whenFull: "refuse",
  nextGroup: 1,
  groups: new Map(),
};

/** Which topics there are, and what is set and known of each as a whole. Locks are taken in the order catalogue, topic, group, lane, partition. */
export class Topics {
  readonly #parts: MessageParts;
  readonly #groups: Groups;
  readonly #known = new Map<string, Topic>();

  constructor(parts: MessageParts, groups: Groups) {
    this.#parts = parts;
    this.#groups = groups;
  }

  /** `not-found` when it was never declared. It may have been removed since. */
  async find(name: string): Promise<Topic> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const entry = await this.#catalogue("finding a topic", async (catalogue) => catalogue.topics.get(name));
    if (entry?.stage !== "ready") throw topicNotFound(name);
    return this.#note(name, entry);
  }

  #note(name: string, { id, partitions }: CatalogueEntry): Topic {
    const topic: Topic = { name, id, partitions, names: topicNamesOf(this.#parts.names, id) };
    this.#known.set(name, topic);
    return topic;
  }

  /** Asks about a topic; when that turns out to be gone (`undefined`), once more about the one that has its name now. */
  async during<T>(name: string, ask: (topic: Topic) => Promise<T | undefined>): Promise<T> {
    for (;;) {
      const known = this.#known.get(name);
      const topic = known ?? (await this.find(name));
      const answer = await ask(topic).catch((error: unknown) => {
        if (error instanceof Gone) return undefined;
        throw error;
      });
      if (answer !== undefined) return answer;
      if (this.#known.get(name) === topic) this.#known.delete(name);
      if (known === undefined) throw topicNotFound(name);
    }
  }

  async names(): Promise<readonly string[]> {
    const { topics } = await this.#catalogue("listing the topics", async (catalogue) => catalogue);
    const there = [...topics].filter(([name, { stage }]) => stage === "ready" && laterPlaceOf(name) === undefined);
    return there.map(([name]) => name).sort();
  }

  // What is delayed ----------------------------------------------------------------------------------------------------

  /** Works on a topic as it stands there; when it turns out to be gone, once more on the one that has its name now. */
  async withPlace<T>(name: string, work: (place: LaterTopic) => Promise<T>): Promise<T> {
    const topic = await this.find(name);
    try {
      return await work(placeOf(topic));
    } catch (error) {
      if (!isCode(error, "not-found")) throw error;
      this.#known.delete(name);
      const now = await this.find(name);
      if (now.id === topic.id) throw error;
      return work(placeOf(now));
    }
  }

  placeKnown(name: string): LaterTopic | undefined {
    const known = this.#known.get(name);
    return known && placeOf(known);
  }

  /** Whether the name is still that topic's. */
  async isThere({ name, number }: LaterTopic): Promise<boolean> {
    const entry = await this.#catalogue("finding a topic", async ({ topics }) => topics.get(name));
    return entry?.stage === "ready" && entry.id === number;
  }

  /** The levels of delayed messages that a topic has. */
  async levels(topic: number): Promise<readonly number[]> {
    const { topics } = await this.#catalogue("looking for delayed messages", async (catalogue) => catalogue);
    return [...topics].flatMap(([name, { stage }]) => {
      const place = laterPlaceOf(name);
      return place?.topic === topic && stage === "ready" ? [place.level] : [];
    });
  }

  // Declaring ----------------------------------------------------------------------------------------------------------

  async declare(name: string, declaration: TopicDeclaration): Promise<void> {
    checkDeclaration(name, declaration, { partitionsMax, seal: false });
    const { partitions, groups = [], countMax, whenFull } = declaration;
    if (countMax !== undefined || whenFull === "evict") {
      const text = `topic ${name} cannot have countMax on RabbitMQ: what is not settled is not counted; leave countMax and whenFull out`;
      throw new TenonError("unsupported", text, { fields: { topic: name } });
    }
    for (;;) {
      const topic = await this.#find(name, partitions);
      try {
        await this.#set(topic, declaration, groups);
        return;
      } catch (error) {
        // Somebody removed it meanwhile.
        if (!(error instanceof Gone)) throw error;
        if (this.#known.get(name) === topic) this.#known.delete(name);
      }
    }
  }

  /** The topic, made when it is not there. */
  async #find(name: string, partitions: number): Promise<Topic> {
    const entry = await this.#catalogue("declaring a topic", async (catalogue, value) => {
      const found = catalogue.topics.get(name);
      if (found?.stage === "ready") {
        if (found.partitions !== partitions) throw otherPartitions(name, found.partitions, partitions);
        return found;
      }
      if (found !== undefined) await this.#tearDown(found);
      const made = { id: catalogue.nextId, partitions, stage: "making" } as const;
      const topics = new Map(catalogue.topics).set(name, made as CatalogueEntry);
      const next = { nextId: catalogue.nextId + 1, topics };
      await value.write(encodeCatalogue(next));
      await this.#make(made);
      const ready = { ...made, stage: "ready" } as const;
      await value.write(encodeCatalogue({ ...next, topics: new Map(topics).set(name, ready) }));
      return ready;
    });
    return this.#note(name, entry);
  }

  async #make({ id, partitions }: CatalogueEntry): Promise<void> {
    const { connection, values, names } = this.#parts;
    const topic = topicNamesOf(names, id);
    const head = new PartitionHead().encode();
    await Promise.all([
      connection.with("making a topic", async (channel) => {
        await channel.declareExchange(topic.exchange, "direct");
        await values.make(channel, topic.record, encodeTopic(newRecord));
      }),
      inParallel(upTo(partitions), (partition) =>
        connection.with("making a partition", (channel) => values.make(channel, topic.head(partition), head)),
      ),
    ]);
  }

  #set(topic: Topic, { retentionMs }: TopicDeclaration, groups: readonly string[]): Promise<void> {
    return this.#groups.ofTopic(topic, "declaring groups", async (held) => {
      await this.#groups.removeEnded(topic, held);
      const taken = groups.find((group) => held.record.groups.get(group)?.ephemeral);
      if (taken !== undefined) throw ephemeralTaken(topic.name, taken);
      if (retentionMs !== undefined && retentionMs !== held.record.retentionMs) {
        await held.write({ ...held.record, retentionMs });
      }
      for (const group of groups) await this.#groups.make(topic, held, group);
    });
  }

  // Removing -----------------------------------------------------------------------------------------------------------

  async remove(name: string): Promise<void> {
    this.#known.delete(name);
    await this.#catalogue("removing a topic", async (catalogue, value) => {
      const entry = catalogue.topics.get(name);
      if (entry?.stage !== "ready") throw topicNotFound(name);
      // Who finds it so goes on with what follows.
      const leaving = { ...entry, stage: "leaving" } as const;
      const topics = new Map(catalogue.topics).set(name, leaving as CatalogueEntry);
      await value.write(encodeCatalogue({ ...catalogue, topics }));
      await this.#tearDown(leaving);
      topics.delete(name);
      await value.write(encodeCatalogue({ ...catalogue, topics }));
      this.#parts.news.tell(value.channel, topicNamesOf(this.#parts.names, entry.id).news);
    });
  }

  /** Deletes what belongs to a topic, as far as it is there. */
  async #tearDown(entry: CatalogueEntry): Promise<void> {
    const { connection, values, names } = this.#parts;
    const topic: Topic = { name: "", ...entry, names: topicNamesOf(names, entry.id) };
    const removeRest = async () => {
      await connection.with("removing a topic", async (channel) => {
        for (const partition of upTo(entry.partitions)) await values.remove(channel, topic.names.head(partition));
        await channel.deleteExchange(topic.names.exchange);
      });
    };
    try {
      if (entry.stage === "making") throw new Gone("a record that may be half made");
      await this.#groups.ofTopic(topic, "removing a topic", async (held) => {
        await removeRest();
        for (const { number } of held.record.groups.values()) await this.#groups.tearDown(topic, number);
        await held.remove();
      });
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      // It is deleted last: without it there are no groups any more, or not yet.
      await removeRest();
      await connection.with("removing a topic", (channel) => values.remove(channel, topic.names.record));
    }
  }

  async removeGroup(name: string, group: string): Promise<void> {
    const found = await this.during(name, (topic) =>
      this.#groups.ofTopic(topic, "removing a group", async (held) => {
        await this.#groups.removeEnded(topic, held);
        const entry = held.record.groups.get(group);
        if (entry?.ready !== true) return "group";
        await this.#groups.remove(topic, held, group);
        return "done";
      }),
    );
    if (found === "group") throw groupNotFound(name, group);
  }

  /** `not-found` when the topic or the group is not there. */
  async checkGroup(name: string, group: string): Promise<void> {
    const isThere = await this.during(name, (topic) =>
      this.#groups.ofTopic(
        topic,
        "looking for a group",
        async ({ record }) => record.groups.get(group)?.ready === true,
      ),
    );
    if (!isThere) throw groupNotFound(name, group);
  }

  // Describing ---------------------------------------------------------------------------------------------------------

  describe(name: string): Promise<TopicDescription> {
    return this.during(name, async (topic) => {
      // First, so that what becomes due meanwhile is not missed.
      const delayedCount = await this.#countDelayed(topic);
      const record = await this.#groups.ofTopic(topic, "describing a topic", async (held) => {
        await this.#groups.removeEnded(topic, held);
        return held.record;
      });
      const groups = [...record.groups].filter(([, { ready }]) => ready);
      const members = await inParallel(groups, ([, { number }]) => this.#groups.countMembers(topic, number));
      const partitions = await inParallel(upTo(topic.partitions), (partition) =>
        this.#describePartition(topic, partition, groups),
      );
      return {
        topic: name,
        retentionMs: record.retentionMs,
        countMax: record.countMax,
        whenFull: record.whenFull,
        partitions: partitions.map(({ first, next }) => ({ first: BigInt(first), next: BigInt(next) })),
        groups: groups.map(([group], index) => ({
          group,
          members: members[index]!,
          lanes: partitions.map(({ lanes }) => lanes[index]!),
        })),
        delayedCount,
      };
    });
  }

  async #countDelayed(topic: Topic): Promise<number> {
    const levels = await this.levels(topic.id);
    if (levels.length === 0) return 0;
    const lanes = levels.map((level) =>
      this.during(laterName({ topic: topic.id, level }), (of) => this.#waitingIn(of)),
    );
    return countWaiting((await Promise.all(lanes)).flat(), ({ target, mark, positions }, partition) => {
      const isStored = (of: Topic) =>
        this.#parts.partitions.hold(of, partition, "counting delayed messages", (head) => {
          const before = head.check(mark, positions.length);
          return before !== undefined && "known" in before;
        });
      return target === undefined
        ? isStored(topic)
        : this.during(laterName({ topic: topic.id, level: target }), isStored);
    });
  }

  async #waitingIn(topic: Topic): Promise<readonly WaitingLane[]> {
    const { groups } = await this.#groups.ofTopic(topic, "counting delayed messages", async ({ record }) => record);
    const number = groups.get(keeperGroup)?.number;
    // Whoever was making it has not got so far: nothing is in it.
    if (number === undefined) return [];
    return inParallel(upTo(topic.partitions), async (partition) => {
      const progress = await this.#progressOf(topic, number, partition);
      const next = await this.#parts.partitions.hold(
        topic,
        partition,
        "counting delayed messages",
        (head) => head.next,
      );
      return { partition, progress, next };
    });
  }

  #progressOf(topic: Topic, group: number, partition: number): Promise<LaneProgress> {
    const name = topic.names.lane(group, partition);
    return this.#parts.values.hold(name, "describing a lane", async ({ bytes }) => {
      return LaneRecord.decode(bytes).state.progress;
    });
  }

  /** Lanes first: what is settled by then is below the next position that is read after it. */
  async #describePartition(topic: Topic, partition: number, groups: readonly (readonly [string, GroupEntry])[]) {
    const { partitions } = this.#parts;
    const progresses: LaneProgress[] = [];
    for (const [, { number }] of groups) progresses.push(await this.#progressOf(topic, number, partition));
    return partitions.hold(topic, partition, "describing a partition", (head) => {
      const lanes = progresses.map((progress): LaneDescription => {
        const lag = progress.lag(head.next);
        const oldestPublishedAt = lag === 0 ? undefined : head.publishedAtOf(progress.low);
        return { low: BigInt(progress.low), lag, held: progress.heldCount, oldestPublishedAt };
      });
      const first = progresses.reduce((least, { low }) => Math.min(least, low), head.next);
      return { first, next: head.next, lanes };
    });
  }

  #catalogue<T>(what: string, work: (catalogue: Catalogue, value: HeldValue) => Promise<T>): Promise<T> {
    return this.#parts.values.hold(this.#parts.names.catalogue, what, (value) =>
      work(decodeCatalogue(value.bytes), value),
    );
  }
}

function placeOf({ name, id, partitions }: Topic): LaterTopic {
  return { name, number: id, partitions };
}

/** A topic's record under its lock. */
export interface HeldTopic {
  readonly record: TopicRecord;
  readonly value: HeldValue;
  write(record: TopicRecord): Promise<void>;
  remove(): Promise<void>;
}

export function heldTopic(value: HeldValue): HeldTopic {
  let record = decodeTopic(value.bytes);
  return {
    get record() {
      return record;
    },
    value,
    async write(next) {
      await value.write(encodeTopic(next));
      record = next;
    },
    remove: () => value.remove(),
  };
}
