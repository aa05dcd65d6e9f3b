import type { ByteReader, ByteWriter } from "../../lanes/index.ts";
import type { DeclareLogCommand, GivenRetention } from "./log-commands.ts";
import { JournaledProducers } from "./producers.ts";
import type { TopicPlace } from "./topic.ts";

/** By partition. */
type Figures = Map<number, number>;

/** A log: where its records are, what is set, where its readers stand, and what is known of its producers and writers. */
export class JournaledLog {
  readonly number: number;
  readonly name: string;
  readonly kafkaName: string;
  readonly kafkaId: string;
  readonly partitions: number;
  /** `Infinity`: records do not go by age, */
  retentionMs = Number.POSITIVE_INFINITY;
  /** or by size. */
  retentionBytes = Number.POSITIVE_INFINITY;
  producers = new JournaledProducers();
  readonly #readers = new Map<string, Figures>();
  /** By writer, the last sequences that were stored under its name. */
  readonly #sequences = new Map<string, Figures>();

  constructor({ name, kafkaName, kafkaId, partitions }: TopicPlace, number: number) {
    this.number = number;
    this.name = name;
    this.kafkaName = kafkaName;
    this.kafkaId = kafkaId;
    this.partitions = partitions;
  }

  set({ retentionMs, retentionBytes }: DeclareLogCommand): void {
    this.retentionMs = replaced(this.retentionMs, retentionMs);
    this.retentionBytes = replaced(this.retentionBytes, retentionBytes);
  }

  positions(reader: string): ReadonlyMap<number, number> {
    return this.#readers.get(reader) ?? new Map();
  }

  stand(reader: string, partition: number, position: number): void {
    figuresOf(this.#readers, reader).set(partition, position);
  }

  forget(reader: string): void {
    this.#readers.delete(reader);
  }

  /** The last sequence that was stored under a writer's name; -1: none was. */
  sequence(writer: string, partition: number): number {
    return this.#sequences.get(writer)?.get(partition) ?? -1;
  }

  noteSequence(writer: string, partition: number, sequence: number): void {
    figuresOf(this.#sequences, writer).set(partition, Math.max(sequence, this.sequence(writer, partition)));
  }

  encode(writer: ByteWriter): void {
    const { number, name, kafkaName, kafkaId, partitions, retentionMs, retentionBytes } = this;
    writer.whole(number).text(name).text(kafkaName).text(kafkaId).whole(partitions);
    writer.f64(retentionMs).f64(retentionBytes);
    this.producers.encode(writer);
    encodeFigures(writer, this.#readers);
    encodeFigures(writer, this.#sequences);
  }

  static decode(reader: ByteReader): JournaledLog {
    const number = reader.whole();
    const place = { name: reader.text(), kafkaName: reader.text(), kafkaId: reader.text(), partitions: reader.whole() };
    const log = new JournaledLog(place, number);
    log.retentionMs = reader.f64();
    log.retentionBytes = reader.f64();
    log.producers = JournaledProducers.decode(reader);
    decodeFigures(reader, log.#readers);
    decodeFigures(reader, log.#sequences);
    return log;
  }
}

function replaced(former: number, given: GivenRetention): number {
  if (given === null) return former;
  return given === "forever" ? Number.POSITIVE_INFINITY : given;
}

function figuresOf(all: Map<string, Figures>, name: string): Figures {
  let figures = all.get(name);
  if (figures === undefined) {
    figures = new Map();
    all.set(name, figures);
  }
  return figures;
}

function encodeFigures(writer: ByteWriter, all: ReadonlyMap<string, Figures>): void {
  writer.whole(all.size);
  for (const [name, figures] of all) {
    writer.text(name).whole(figures.size);
    for (const [partition, figure] of figures) writer.whole(partition).whole(figure);
  }
}

function decodeFigures(reader: ByteReader, all: Map<string, Figures>): void {
  for (let left = reader.whole(); left > 0; left--) {
    const figures = figuresOf(all, reader.text());
    for (let count = reader.whole(); count > 0; count--) figures.set(reader.whole(), reader.whole());
  }
}
