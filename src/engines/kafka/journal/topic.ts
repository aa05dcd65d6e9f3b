import { type ByteReader, type ByteWriter, keeperGroup, laterPlaceOf, Retention, rangesOf } from "../../lanes/index.ts";
import type { AdmitCommand, DeclareCommand } from "./commands.ts";
import { JournaledGroup } from "./group.ts";
import { JournaledProducers } from "./producers.ts";
import { type Admitted, Room } from "./room.ts";

/** Kept after settlement when nothing else was declared. */
const retentionMsDefault = 0;

/** So far ahead of what a group has settled it is noted that a position is empty; whoever consumes finds out about what is farther. */
const emptyAheadMax = 100_000;

/** A topic: where its messages are, what is set, its groups, and what is known of its producers. */
export class JournaledTopic {
  readonly number: number;
  readonly name: string;
  readonly kafkaName: string;
  readonly kafkaId: string;
  readonly partitions: number;
  retentionMs = retentionMsDefault;
  countMax: number | undefined;
  whenFull: "refuse" | "evict" = "refuse";
  readonly groups = new Map<string, JournaledGroup>();
  producers = new JournaledProducers();
  /** By partition, the oldest position that is kept. */
  readonly first: number[];
  readonly #retention: Retention[];
  /** Of a topic that counts. */
  #room: Room | undefined;
  /** Where the partitions end, as far as that was told: of a topic of what is delayed, which counts for the one that it belongs to. */
  readonly #laterEnds: number[] | undefined;

  constructor({ name, kafkaName, kafkaId, partitions }: TopicPlace, number: number) {
    this.number = number;
    this.name = name;
    this.kafkaName = kafkaName;
    this.kafkaId = kafkaId;
    this.partitions = partitions;
    this.first = new Array(partitions).fill(0);
    if (laterPlaceOf(name) !== undefined) this.#laterEnds = new Array(partitions).fill(0);
    this.#retention = Array.from({ length: partitions }, () => new Retention());
  }

  set({ retentionMs, countMax, whenFull, ends }: DeclareCommand): void {
    if (retentionMs !== null) this.retentionMs = retentionMs === "forever" ? Number.POSITIVE_INFINITY : retentionMs;
    if (whenFull !== null) this.whenFull = whenFull;
    if (countMax === null) return;
    this.countMax = countMax;
    this.#room ??= new Room(this.partitions);
    this.#room.note(ends ?? []);
  }

  /** `undefined`: the topic does not count. `delayed`: how many messages of it are. */
  admit(command: AdmitCommand, delayed: number, now: number): Admitted | undefined {
    if (this.#room === undefined || this.countMax === undefined) return undefined;
    const parts = {
      countMax: this.countMax,
      evicts: this.whenFull === "evict",
      delayed,
      settled: (partition: number, end: number) => this.settled(partition, end),
      settleForAll: (partition: number, below: number) => {
        for (const { lanes } of this.groups.values()) lanes[partition]!.state.progress.settleBelow(below);
      },
    };
    return this.#room.admit(command, parts, now);
  }

  appended(partition: number, admission: string, end: number, empty: readonly number[] = []): void {
    this.#room?.appended(partition, admission, end, empty);
    if (this.#laterEnds !== undefined) this.#laterEnds[partition] = Math.max(this.#laterEnds[partition]!, end);
    if (empty.length === 0) return;
    for (const { lanes } of this.groups.values()) {
      const { progress } = lanes[partition]!.state;
      // It takes a bit for each position between.
      const near = empty.filter((position) => position < progress.low + emptyAheadMax);
      progress.apply({ settled: rangesOf(near) });
    }
  }

  /** How many messages are not settled, as far as was told where its partitions end. */
  get kept(): number {
    const lanes = this.groups.get(keeperGroup)?.lanes ?? [];
    return lanes.reduce((sum, { state }, partition) => {
      return sum + Math.max(0, state.progress.lag(this.#laterEnds?.[partition] ?? 0));
    }, 0);
  }

  group(number: number): JournaledGroup | undefined {
    for (const group of this.groups.values()) if (group.number === number) return group;
    return undefined;
  }

  /** Ephemeral groups go with their members' sessions. Answers the numbers of those that went. */
  removeEnded(now: number): readonly number[] {
    const ended = [...this.groups.values()].filter(({ state }) => {
      const { endsAt } = state;
      return endsAt !== undefined && endsAt <= now;
    });
    for (const { name } of ended) this.groups.delete(name);
    return ended.map(({ number }) => number);
  }

  /** The lowest position that not every group has settled; `end`: where the partition ends. */
  settled(partition: number, end: number): number {
    let settled = Number.POSITIVE_INFINITY;
    for (const { lanes } of this.groups.values()) settled = Math.min(settled, lanes[partition]!.state.progress.low);
    return settled === Number.POSITIVE_INFINITY ? end : settled;
  }

  /** The oldest position that is kept. Without a retention it follows what is settled at once, whoever deletes it when. */
  firstKept(partition: number, end: number): number {
    const first = this.first[partition]!;
    return this.retentionMs > 0 ? first : Math.max(first, this.settled(partition, end));
  }

  /** What every group has settled may go when the retention has passed since. `ends`: where the partitions end. */
  trim(ends: readonly number[], now: number): void {
    for (const [partition, retention] of this.#retention.entries()) {
      const settled = this.settled(partition, ends[partition] ?? 0);
      const passed = this.retentionMs > 0 ? retention.note(settled, this.retentionMs, now) : settled;
      this.first[partition] = Math.max(this.first[partition]!, Math.min(passed, settled));
    }
  }

  /** `withLater`: with what is delayed. */
  encode(writer: ByteWriter, withLater: boolean): void {
    const { number, name, kafkaName, kafkaId, partitions, retentionMs, whenFull } = this;
    writer.whole(number).text(name).text(kafkaName).text(kafkaId).whole(partitions);
    writer.f64(retentionMs).u8(whenFull === "evict" ? 1 : 0);
    writer.whole(this.countMax ?? 0);
    this.#room?.encode(writer, withLater);
    for (const end of this.#laterEnds ?? []) writer.whole(end);
    for (const position of this.first) writer.whole(position);
    for (const retention of this.#retention) writer.bytes(retention.encode());
    writer.whole(this.groups.size);
    for (const group of this.groups.values()) group.encode(writer);
    this.producers.encode(writer);
  }

  static decode(reader: ByteReader, withLater: boolean): JournaledTopic {
    const number = reader.whole();
    const place = { name: reader.text(), kafkaName: reader.text(), kafkaId: reader.text(), partitions: reader.whole() };
    const topic = new JournaledTopic(place, number);
    topic.retentionMs = reader.f64();
    topic.whenFull = reader.u8() === 1 ? "evict" : "refuse";
    const countMax = reader.whole();
    if (countMax > 0) {
      topic.countMax = countMax;
      topic.#room = Room.decode(reader, place.partitions, withLater);
    }
    for (const partition of topic.#laterEnds?.keys() ?? []) topic.#laterEnds![partition] = reader.whole();
    for (let partition = 0; partition < place.partitions; partition++) topic.first[partition] = reader.whole();
    for (let partition = 0; partition < place.partitions; partition++) {
      topic.#retention[partition] = Retention.decode(reader.bytes());
    }
    for (let left = reader.whole(); left > 0; left--) {
      const group = JournaledGroup.decode(reader, place.partitions);
      topic.groups.set(group.name, group);
    }
    topic.producers = JournaledProducers.decode(reader);
    return topic;
  }
}

export interface TopicPlace {
  readonly name: string;
  readonly kafkaName: string;
  readonly kafkaId: string;
  readonly partitions: number;
}
