import type { GroupDescription, LaneDescription, TopicDescription } from "../../../contracts/messages.ts";
import { GroupState } from "../../lanes/group-state.ts";
import type { ServerClock } from "../server-clock.ts";
import { type StateStore, valueNames } from "../state-store.ts";
import type { DelayStore } from "./delay-store.ts";
import type { Groups } from "./groups.ts";
import type { LaneValue } from "./lane-value.ts";
import type { LaneValues } from "./lane-values.ts";
import { compareKeys } from "./partition-head.ts";
import type { PartitionKeeper } from "./partition-keeper.ts";
import type { Positions } from "./positions.ts";
import { type GroupRecord, retentionOf, type TopicRecord } from "./topic-record.ts";
import { partitionsOf, type Topic, type Topics } from "./topics.ts";

export interface DescriptionParts {
  readonly topics: Topics;
  readonly groups: Groups;
  readonly keeper: PartitionKeeper;
  readonly lanes: LaneValues;
  readonly state: StateStore;
  readonly positions: Positions;
  readonly delays: DelayStore;
  readonly clock: ServerClock;
}

interface PartitionNow {
  readonly first: number;
  readonly next: number;
  readonly delayed: number;
  readonly sealed: string;
}

/** What there is of a topic. The values are read one by one, lanes before partitions: with a topic in use a lag may be of a moment later than the progress that it is counted from. */
export class Descriptions {
  readonly #parts: DescriptionParts;

  constructor(parts: DescriptionParts) {
    this.#parts = parts;
  }

  /** `undefined` when the topic is gone. */
  async of(topic: Topic): Promise<TopicDescription | undefined> {
    const { topics, groups, keeper } = this.#parts;
    await groups.endEphemeral(topic);
    await keeper.tidy(topic);
    const found = await topics.places.recordOf(topic);
    if (found === undefined) return undefined;
    const partitions = partitionsOf(topic);
    const lanes = new Map<number, readonly (LaneValue | undefined)[]>();
    for (const { id } of found.record.groups) {
      const read = await Promise.all(partitions.map((each) => this.#parts.lanes.read(topic.id, id, each)));
      lanes.set(
        id,
        read.map((each) => each?.value),
      );
    }
    const now = await Promise.all(partitions.map((partition) => this.#partition(topic, partition)));
    if (now.some((each) => each === undefined)) return undefined;
    return this.#describe(topic, found.record, lanes, now as readonly PartitionNow[]);
  }

  async #partition(topic: Topic, partition: number): Promise<PartitionNow | undefined> {
    const { positions, delays } = this.#parts;
    const { trim } = await positions.trimOf(topic, partition);
    const last = await topic.chain(partition).look();
    if (last === undefined) return undefined;
    const { head } = last;
    const next = head.first + head.count;
    let delayed = 0;
    if (head.dueAt >= 0) {
      const copied = await delays.keys(topic.id, partition);
      const kept = copied.filter((key) => compareKeys(key, head.released) > 0 && key.sequence !== last.sequence);
      delayed = kept.length + head.later.length;
    }
    return { first: Math.min(trim.first, next), next, delayed, sealed: head.seal.note };
  }

  async #describe(
    topic: Topic,
    record: TopicRecord,
    lanes: ReadonlyMap<number, readonly (LaneValue | undefined)[]>,
    partitions: readonly PartitionNow[],
  ): Promise<TopicDescription> {
    const groups: GroupDescription[] = [];
    for (const group of record.groups) {
      const described = await this.#group(topic, group, lanes.get(group.id)!, partitions);
      if (described !== undefined) groups.push(described);
    }
    return {
      topic: topic.name,
      retentionMs: retentionOf(record),
      countMax: record.countMax,
      whenFull: record.whenFull ?? "refuse",
      // Not before it stands in every partition, so that what is told of those is their end.
      sealed: partitions.every(({ sealed }) => sealed !== "") ? partitions[0]!.sealed : undefined,
      partitions: partitions.map(({ first, next }) => ({ first: BigInt(first), next: BigInt(next) })),
      groups,
      delayedCount: partitions.reduce((sum, { delayed }) => sum + delayed, 0),
    };
  }

  /** `undefined` when it was removed meanwhile. */
  async #group(
    topic: Topic,
    { id, name }: GroupRecord,
    lanes: readonly (LaneValue | undefined)[],
    partitions: readonly PartitionNow[],
  ): Promise<GroupDescription | undefined> {
    const { state, clock } = this.#parts;
    const value = await state.read("describing a group", valueNames.group(topic.id, id));
    if (value === undefined || lanes.some((lane) => lane === undefined)) return undefined;
    await clock.ready();
    const described = await Promise.all(
      lanes.map((lane, partition) => this.#lane(topic, partition, lane!, partitions[partition]!)),
    );
    const group = GroupState.decode(value.bytes);
    const members = group.countMembers(clock.earliest);
    return { group: name, members, ephemeral: group.isEphemeral, lanes: described };
  }

  async #lane(
    topic: Topic,
    partition: number,
    { state: { progress }, lowSequence }: LaneValue,
    { next }: PartitionNow,
  ): Promise<LaneDescription> {
    const lag = Math.max(0, progress.lag(next));
    const oldestPublishedAt = lag === 0 ? undefined : await this.#storedAt(topic, partition, progress.low, lowSequence);
    return { low: BigInt(progress.low), lag, held: progress.heldCount, oldestPublishedAt };
  }

  async #storedAt(topic: Topic, partition: number, position: number, sequence: number): Promise<number | undefined> {
    let run = await this.#parts.positions.runFrom(topic.id, partition, sequence);
    while (run !== undefined && run.end <= position) {
      run = await this.#parts.positions.runFrom(topic.id, partition, run.sequence + 1);
    }
    return run?.storedAt;
  }
}
