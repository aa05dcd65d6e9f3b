import { isDeepStrictEqual } from "node:util";
import { isCode, TenonError } from "../../../contracts/errors.ts";
import type { SeekTarget, TopicDeclaration, TopicDescription } from "../../../contracts/messages.ts";
import { checkDeclaration } from "../../../contracts/topic-declarations.ts";
import {
  type Copying,
  countWaiting,
  ephemeralTaken,
  groupNotFound,
  keeperGroup,
  laterPlaceOf,
  otherPartitions,
  topicNotFound,
  type WaitingLane,
} from "../../lanes/index.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, failureOf, kafkaCode } from "../failures.ts";
import { UnreadableBatch } from "../fetching/place.ts";
import type { JournaledGroup } from "../journal/group.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledTopic } from "../journal/topic.ts";
import { isControl, listOffset, offsetAt, timestampOf } from "../requests.ts";
import type { TopicMaker } from "../topic-maker.ts";
import { kafkaNamesOf, laterKafkaName } from "./kafka-names.ts";

export const partitionsMax = 1_024;
/** So often a declaration begins anew when others declare and remove at the same time. */
const triesMax = 20;

export interface TopicParts {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly maker: TopicMaker;
  readonly prefix: string;
}

/** Which topics there are, and what is set and known of each as a whole. */
export class Topics {
  readonly #parts: TopicParts;

  constructor(parts: TopicParts) {
    this.#parts = parts;
  }

  /** `not-found` when it is not there. What this engine has not read yet, it reads before it says so. */
  async find(name: string): Promise<JournaledTopic> {
    const { journal } = this.#parts;
    const known = journal.state.topicNamed(name);
    if (known !== undefined) return known;
    await journal.reach("finding a topic", null);
    const found = journal.state.topicNamed(name);
    if (found === undefined) throw topicNotFound(name);
    return found;
  }

  /** Throws when the topic was removed, as far as is known here. */
  checkThere({ name, number }: JournaledTopic): void {
    if (this.#parts.journal.state.topic(number) === undefined) throw topicNotFound(name);
  }

  /** Whether somebody else has deleted Kafka's topic, and nobody has made another one. Which topic has the name does not decide it: a broker that is behind shows the one that had it before. */
  async isDeleted({ kafkaName }: JournaledTopic): Promise<boolean> {
    const { cluster, maker } = this.#parts;
    return (await cluster.readTopic(kafkaName)) === undefined && (await maker.isFree(kafkaName));
  }

  // Declaring and removing ---------------------------------------------------------------------------------------------

  async declare(name: string, declaration: TopicDeclaration): Promise<void> {
    checkDeclaration(name, declaration, { partitionsMax, seal: false });
    for (let tries = 0; tries < triesMax; tries++) if (await this.#declare(name, declaration)) return;
    throw new TenonError(
      "unavailable",
      `topic ${name} is declared and removed by others all the time; try again later`,
    );
  }

  /** `false`: it was not as it seemed; look again. */
  async #declare(
    name: string,
    { partitions, groups = [], retentionMs, countMax, whenFull }: TopicDeclaration,
  ): Promise<boolean> {
    const { journal } = this.#parts;
    const known = journal.state.topicNamed(name);
    if (known !== undefined && known.partitions !== partitions) await journal.reach("declaring a topic", name);
    const place = known ?? (await this.#make(name, partitions));
    if (place === undefined) return false;
    const missing = groups.some((group) => known?.groups.has(group) !== true);
    const ends = missing || countMax !== undefined ? await this.#endsUnlessRemoved(name, place) : null;
    if (ends === undefined) return false;
    const declared = await journal.submit<"declare">(
      {
        kind: "declare",
        name,
        kafkaName: place.kafkaName,
        kafkaId: place.kafkaId,
        partitions,
        retentionMs: retentionMs === Number.POSITIVE_INFINITY ? "forever" : (retentionMs ?? null),
        countMax: countMax ?? null,
        whenFull: whenFull ?? null,
        groups,
        starts: missing ? ends : null,
        ends: countMax === undefined ? null : ends,
      },
      "declaring a topic",
    );
    switch (declared.refused) {
      case undefined:
        return true;
      case "partitions":
        throw otherPartitions(name, declared.partitions, partitions);
      case "ephemeral":
        throw ephemeralTaken(name, declared.group);
      case "removed":
        await this.#parts.maker.remove(place);
        return false;
      case "starts":
        return false;
      case "other":
        // Somebody else declared it first, under another of Kafka's names perhaps.
        if (known === undefined) return false;
        throw new OtherTopic(name, place.kafkaName);
    }
  }

  /** `undefined`: somebody has removed it. */
  async #endsUnlessRemoved(name: string, place: Place): Promise<readonly number[] | undefined> {
    const check = () => {
      if (this.#parts.journal.state.isRemoved(place.kafkaId)) throw topicNotFound(name);
    };
    try {
      return await this.ends(place, "declaring a topic", check);
    } catch (error) {
      if (isCode(error, "not-found")) return undefined;
      throw error;
    }
  }

  /** Kafka's topic. One that is there already, with as many partitions, is taken: a declaration may have ended half-way. */
  async #make(name: string, partitions: number): Promise<Place | undefined> {
    const { maker, prefix, journal } = this.#parts;
    // What another topic has, this one cannot have: long names may be the same when they are cut.
    const later = laterPlaceOf(name);
    const wanted = later === undefined ? kafkaNamesOf(prefix, name) : [laterKafkaName(prefix, later)];
    const names = wanted.filter((kafkaName) => !journal.state.isTaken(kafkaName));
    const made = await maker.make(names, partitions);
    if (made.partitions === partitions) return made;
    if (journal.state.isRemoved(made.kafkaId)) {
      await maker.remove(made);
      return undefined;
    }
    await journal.reach("declaring a topic", name);
    if (journal.state.isRemoved(made.kafkaId)) return undefined;
    throw otherPartitions(name, made.partitions, partitions);
  }

  async remove(name: string): Promise<void> {
    const removed = await this.#parts.journal.submit<"remove">({ kind: "remove", name }, "removing a topic");
    if (removed === undefined) throw topicNotFound(name);
    try {
      await this.#parts.maker.remove(removed);
    } catch (error) {
      // It is removed; whoever declares the name again deletes what Kafka still has.
      this.#parts.cluster.world.log.log("warn", "deleting a topic in Kafka failed", {
        topic: name,
        error: String(error),
      });
    }
  }

  async removeGroup(name: string, group: string): Promise<void> {
    const command = { kind: "removeGroup", name, group } as const;
    const removed = await this.#parts.journal.submit<"removeGroup">(command, "removing a group");
    if (removed === "topic") throw topicNotFound(name);
    if (removed === "group") throw groupNotFound(name, group);
  }

  async names(): Promise<readonly string[]> {
    const { journal } = this.#parts;
    await journal.reach("listing the topics", null);
    return journal.state.names;
  }

  // Positions ----------------------------------------------------------------------------------------------------------

  /** Where each partition ends. */
  ends(topic: Place, what: string, check?: () => void): Promise<readonly number[]> {
    return this.#offsets(topic, what, offsetAt.latest, check);
  }

  end(topic: JournaledTopic, partition: number, what: string): Promise<number> {
    return this.#offset(topic, partition, what, offsetAt.latest);
  }

  /** Where the records begin that Kafka still has. */
  begin(topic: JournaledTopic, partition: number, what: string): Promise<number> {
    return this.#offset(topic, partition, what, offsetAt.earliest);
  }

  #offset(topic: JournaledTopic, partition: number, what: string, at: number): Promise<number> {
    const check = () => this.checkThere(topic);
    return listOffset(this.#parts.cluster, what, topic.kafkaName, partition, at, check);
  }

  #offsets({ kafkaName, partitions }: Place, what: string, at: number, check?: () => void): Promise<readonly number[]> {
    const { cluster } = this.#parts;
    const all = Array.from({ length: partitions }, (_, partition) =>
      listOffset(cluster, what, kafkaName, partition, at, check),
    );
    return Promise.all(all);
  }

  /** By partition, what the target means now; `null`: it says nothing. */
  async starts(topic: JournaledTopic, target: SeekTarget, what: string): Promise<readonly (number | null)[]> {
    const check = () => this.checkThere(topic);
    const ends = await this.ends(topic, what, check);
    const first = ends.map((end, partition) => topic.firstKept(partition, end));
    if (target === "earliest") return first;
    if (target === "now") return ends;
    if ("at" in target) {
      const found = await this.#offsets(topic, what, Math.max(0, Math.ceil(target.at)), check);
      return found.map((position, partition) =>
        position < 0 ? ends[partition]! : Math.max(first[partition]!, position),
      );
    }
    return ends.map((end, partition) => {
      const position = target.positions.get(partition);
      return position === undefined ? null : Math.min(Math.max(Number(position), first[partition]!), end);
    });
  }

  async seek(name: string, group: string, to: SeekTarget): Promise<void> {
    const topic = await this.find(name);
    const starts = await this.starts(topic, to, "seeking");
    const sought = await this.#parts.journal.submit<"seek">({ kind: "seek", name, group, starts }, "seeking");
    if (sought === "topic") throw topicNotFound(name);
    if (sought === "group") throw groupNotFound(name, group);
  }

  // Describing ---------------------------------------------------------------------------------------------------------

  /** `hasCopy`: whether what is being copied of delayed messages is in a partition already. */
  async describe(name: string, hasCopy: HasCopy): Promise<TopicDescription> {
    const { journal } = this.#parts;
    await journal.reach("describing a topic", name);
    let topic = await this.find(name);
    for (let tries = 0; ; tries++) {
      const before = await this.#allEnds(topic);
      await journal.reach("describing a topic", name);
      topic = await this.find(name);
      const described = describe(topic, before.get(topic.number) ?? [], journal.state.now);
      const delayedCount = await this.#countDelayed(topic, before, hasCopy);
      const after = await this.#allEnds(topic);
      // What was appended and settled between the two looks would be counted half.
      const isExact = isDeepStrictEqual(before, after);
      if (isExact || tries === 3) return this.#withAges(topic, { ...described, delayedCount });
    }
  }

  /** Where the partitions end, of the topic and of those that hold what is delayed of it; by number. */
  async #allEnds(topic: JournaledTopic): Promise<ReadonlyMap<number, readonly number[]>> {
    const check = () => this.checkThere(topic);
    const all = [topic, ...this.#parts.journal.state.laterOf(topic.number).values()];
    const ends = all.map(async (each) => [each.number, await this.ends(each, "describing a topic", check)] as const);
    return new Map(await Promise.all(ends));
  }

  #countDelayed(
    topic: JournaledTopic,
    ends: ReadonlyMap<number, readonly number[]>,
    hasCopy: HasCopy,
  ): Promise<number> {
    const levels = this.#parts.journal.state.laterOf(topic.number);
    const lanes = [...levels.values()].flatMap((of) => {
      const lanes = of.groups.get(keeperGroup)?.lanes ?? [];
      return lanes.map(({ state: { progress } }, partition): WaitingLane => {
        return { partition, progress, next: ends.get(of.number)?.[partition] ?? 0 };
      });
    });
    return countWaiting(lanes, async (copying, partition) => {
      const target = copying.target === undefined ? topic : levels.get(copying.target);
      return target !== undefined && hasCopy(target, partition, copying);
    });
  }

  async #withAges(topic: JournaledTopic, description: TopicDescription): Promise<TopicDescription> {
    const ages = new Map<string, Promise<number | undefined>>();
    const ageOf = (partition: number, low: bigint) => {
      const key = `${partition}/${low}`;
      const known = ages.get(key) ?? this.#publishedAt(topic, partition, Number(low));
      ages.set(key, known);
      return known;
    };
    const groups = description.groups.map(async (group) => {
      const lanes = group.lanes.map(async (lane, partition) => {
        const oldestPublishedAt = lane.lag === 0 ? undefined : await ageOf(partition, lane.low);
        return { ...lane, oldestPublishedAt };
      });
      return { ...group, lanes: await Promise.all(lanes) };
    });
    return { ...description, groups: await Promise.all(groups) };
  }

  async #publishedAt(topic: JournaledTopic, partition: number, position: number): Promise<number | undefined> {
    const { cluster } = this.#parts;
    const asked = { what: "describing a topic", outcome: "not-applied", check: () => this.checkThere(topic) } as const;
    const from = { offset: position, maxWaitMs: 0, bytesMax: 1 };
    try {
      const { batches } = await cluster.leader(asked, topic.kafkaName, partition, (connection, place) =>
        cluster.fetching.partition(connection, place, partition, from),
      );
      for (const batch of batches) {
        if (isControl(batch)) continue;
        for (const record of batch.records) {
          if (Number(batch.firstOffset) + record.offsetDelta >= position) return timestampOf(batch, record);
        }
      }
      return undefined;
    } catch (error) {
      // It was settled and deleted meanwhile.
      if (answeredCode(error) === kafkaCode.offsetOutOfRange) return undefined;
      // How far behind a lane is that stands there can be told all the same.
      if (error instanceof UnreadableBatch) return undefined;
      throw failureOf(error, "describing a topic", "not-applied");
    }
  }
}

type HasCopy = (topic: JournaledTopic, partition: number, copying: Copying) => Promise<boolean>;

type Place = Pick<JournaledTopic, "kafkaName" | "kafkaId" | "partitions">;

/** Kafka's topic is another one than the journal says, as far as this engine has read. */
export class OtherTopic extends TenonError {
  constructor(name: string, kafkaName: string) {
    const text = `topic ${name} was declared on Kafka's topic ${kafkaName}, which somebody else has deleted since; remove it, and declare it anew`;
    super("conflict", text, { fields: { topic: name, kafkaName } });
  }
}

function describe(topic: JournaledTopic, ends: readonly number[], now: number): TopicDescription {
  return {
    topic: topic.name,
    retentionMs: topic.retentionMs,
    countMax: topic.countMax,
    whenFull: topic.whenFull,
    partitions: ends.map((end, partition) => ({
      first: BigInt(Math.min(end, topic.firstKept(partition, end))),
      next: BigInt(end),
    })),
    groups: [...topic.groups.values()].map((group) => ({
      group: group.name,
      members: group.state.countMembers(now),
      lanes: describeLanes(group, ends),
    })),
    delayedCount: 0,
  };
}

function describeLanes(group: JournaledGroup, ends: readonly number[]): TopicDescription["groups"][number]["lanes"] {
  return group.lanes.map(({ state: { progress } }, partition) => ({
    low: BigInt(progress.low),
    lag: Math.max(0, progress.lag(ends[partition]!)),
    held: progress.heldCount,
    oldestPublishedAt: undefined,
  }));
}
