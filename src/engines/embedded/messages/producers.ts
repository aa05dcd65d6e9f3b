import { TenonError } from "../../../contracts/errors.ts";
import type { ProducerMark } from "../../../contracts/messages.ts";
import { type Reader, stringBytes, type Writer } from "../cursor.ts";

/** The offsets that a producer's batch got; -1 for a delayed message. */
export interface ProducedBatch {
  readonly sequence: number;
  readonly count: number;
  readonly first: number;
  /** When they are not just `first`, `first` + 1, … */
  readonly offsets: readonly number[] | undefined;
}

interface Producer {
  readonly id: string;
  readonly topic: number;
  epoch: number;
  usedAt: number;
  readonly queues: Map<number, ProducedBatch[]>;
}

/** So many of a producer's last batches per queue are answered again with their offsets. */
const rememberedBatches = 5;
/** Producers beyond this are forgotten, those used longest ago first. */
const producersMax = 100_000;

/** Which sequences of which producers are stored. Producers of different topics have nothing to do with each other. */
export class Producers {
  readonly #producers = new Map<string, Producer>();

  /** The stored batch when this one is a repetition; `undefined` when it is new. Throws when it must be refused. */
  check(mark: ProducerMark, topic: number, queue: number, count: number): ProducedBatch | undefined {
    const producer = this.#producers.get(nameOf(mark, topic));
    if (producer === undefined) return undefined;
    const fields = { producer: mark.id, epoch: mark.epoch, sequence: mark.sequence };
    if (mark.epoch < producer.epoch) {
      const message = `producer ${mark.id} with epoch ${mark.epoch} was fenced by epoch ${producer.epoch}; stop this producer`;
      throw new TenonError("lost", message, { fields });
    }
    if (mark.epoch > producer.epoch) return this.#refuseGap(mark, 0, fields);
    const batches = producer.queues.get(queue);
    const last = batches?.at(-1);
    if (batches === undefined || last === undefined) return this.#refuseGap(mark, 0, fields);
    const next = last.sequence + last.count;
    if (mark.sequence >= next) return this.#refuseGap(mark, next, fields);
    const known = batches.find((batch) => batch.sequence === mark.sequence && batch.count === count);
    if (known !== undefined) return known;
    const message = `producer ${mark.id} repeats sequence ${mark.sequence} as part of another batch; repeat batches unchanged`;
    throw new TenonError("conflict", message, { fields });
  }

  #refuseGap(mark: ProducerMark, expected: number, fields: Record<string, string | number>): undefined {
    if (mark.sequence === expected) return undefined;
    const message = `producer ${mark.id} sent sequence ${mark.sequence} where ${expected} comes next; an earlier batch is missing`;
    throw new TenonError("conflict", message, { fields: { ...fields, expected } });
  }

  add(mark: ProducerMark, topic: number, queue: number, batch: ProducedBatch, at: number): void {
    const name = nameOf(mark, topic);
    let producer = this.#producers.get(name);
    if (producer === undefined || mark.epoch > producer.epoch) {
      producer = { id: mark.id, topic, epoch: mark.epoch, usedAt: at, queues: new Map() };
    }
    producer.usedAt = at;
    let batches = producer.queues.get(queue);
    if (batches === undefined) {
      batches = [];
      producer.queues.set(queue, batches);
    }
    if (batches.length === rememberedBatches) batches.shift();
    batches.push(batch);
    if (!this.#producers.has(name) && this.#producers.size >= producersMax) this.#forgetOldest();
    this.#producers.set(name, producer);
  }

  /** The topic was removed. */
  forget(topic: number): void {
    for (const [name, producer] of this.#producers) if (producer.topic === topic) this.#producers.delete(name);
  }

  #forgetOldest(): void {
    const byUse = [...this.#producers].sort(([, a], [, b]) => a.usedAt - b.usedAt);
    for (const [name] of byUse.slice(0, Math.ceil(producersMax / 10))) this.#producers.delete(name);
  }

  *snapshots(): Generator<ProducerSnapshot> {
    for (const { id, topic, epoch, usedAt, queues } of this.#producers.values()) {
      for (const [queue, batches] of queues) yield { id, topic, epoch, usedAt, queue, batches };
    }
  }
}

function nameOf(mark: ProducerMark, topic: number): string {
  return `${topic}/${mark.id}`;
}

export interface ProducerSnapshot {
  readonly id: string;
  readonly topic: number;
  readonly epoch: number;
  readonly usedAt: number;
  readonly queue: number;
  readonly batches: readonly ProducedBatch[];
}

export function producerSnapshotBytes(snapshot: ProducerSnapshot): number {
  let bytes = stringBytes(snapshot.id) + 4 + 8 + 8 + 4 + 1;
  for (const batch of snapshot.batches) bytes += 8 + 4 + 8 + 1 + 8 * (batch.offsets?.length ?? 0);
  return bytes;
}

export function writeProducerSnapshot(writer: Writer, snapshot: ProducerSnapshot): void {
  const { id, topic, epoch, usedAt, queue, batches } = snapshot;
  writer.string(id).u32(topic).f64(epoch).f64(usedAt).u32(queue).u8(batches.length);
  for (const { sequence, count, first, offsets } of snapshot.batches) {
    writer
      .f64(sequence)
      .u32(count)
      .f64(first)
      .u8(offsets === undefined ? 0 : 1);
    for (const offset of offsets ?? []) writer.f64(offset);
  }
}

export function replayProducerSnapshot(reader: Reader, producers: Producers): void {
  const id = reader.string();
  const topic = reader.u32();
  const epoch = reader.f64();
  const usedAt = reader.f64();
  const queue = reader.u32();
  for (let left = reader.u8(); left > 0; left--) {
    const sequence = reader.f64();
    const count = reader.u32();
    const first = reader.f64();
    const offsets = reader.u8() === 0 ? undefined : Array.from({ length: count }, () => reader.f64());
    producers.add({ id, epoch, sequence }, topic, queue, { sequence, count, first, offsets }, usedAt);
  }
}
