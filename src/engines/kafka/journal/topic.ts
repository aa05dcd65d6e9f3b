import { type ByteReader, type ByteWriter, Retention } from "../../lanes/index.ts";
import type { AdmitCommand, DeclareCommand } from "./commands.ts";
import { JournaledGroup } from "./group.ts";
import { JournaledProducers } from "./producers.ts";
import { type Admitted, Room } from "./room.ts";

/** Kept after settlement when nothing else was declared. */
const retentionMsDefault = 0;

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

  constructor({ name, kafkaName, kafkaId, partitions }: TopicPlace, number: number) {
    this.number = number;
    this.name = name;
    this.kafkaName = kafkaName;
    this.kafkaId = kafkaId;
    this.partitions = partitions;
    this.first = new Array(partitions).fill(0);
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

  /** `undefined`: the topic does not count. */
  admit(command: AdmitCommand, now: number): Admitted | undefined {
    if (this.#room === undefined || this.countMax === undefined) return undefined;
    const parts = {
      countMax: this.countMax,
      evicts: this.whenFull === "evict",
      settled: (partition: number, end: number) => this.settled(partition, end),
      settleForAll: (partition: number, below: number) => {
        for (const { lanes } of this.groups.values()) lanes[partition]!.state.progress.settleBelow(below);
      },
    };
    return this.#room.admit(command, parts, now);
  }

  appended(partition: number, admission: string, end: number): void {
    this.#room?.appended(partition, admission, end);
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

  encode(writer: ByteWriter): void {
    const { number, name, kafkaName, kafkaId, partitions, retentionMs, whenFull } = this;
    writer.whole(number).text(name).text(kafkaName).text(kafkaId).whole(partitions);
    writer.f64(retentionMs).u8(whenFull === "evict" ? 1 : 0);
    writer.whole(this.countMax ?? 0);
    this.#room?.encode(writer);
    for (const position of this.first) writer.whole(position);
    for (const retention of this.#retention) writer.bytes(retention.encode());
    writer.whole(this.groups.size);
    for (const group of this.groups.values()) group.encode(writer);
    this.producers.encode(writer);
  }

  static decode(reader: ByteReader): JournaledTopic {
    const number = reader.whole();
    const place = { name: reader.text(), kafkaName: reader.text(), kafkaId: reader.text(), partitions: reader.whole() };
    const topic = new JournaledTopic(place, number);
    topic.retentionMs = reader.f64();
    topic.whenFull = reader.u8() === 1 ? "evict" : "refuse";
    const countMax = reader.whole();
    if (countMax > 0) {
      topic.countMax = countMax;
      topic.#room = Room.decode(reader, place.partitions);
    }
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
