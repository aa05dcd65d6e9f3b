import type { ProducerMark } from "../../../contracts/messages.ts";
import type { BatchRefusal } from "../../lanes/batches.ts";
import { type Positions, ProducerMarks } from "../../lanes/producer-marks.ts";
import { ByteReader, ByteWriter } from "../../shared/binary.ts";

/** Messages of one batch or several that were appended together, as one message of the server. */
export interface PackedRun {
  readonly position: number;
  readonly count: number;
  readonly publishedAt: number;
  readonly packed: Buffer;
}

const runFormat = 1;
const headFormat = 1;
/** So many of the last runs' instants are known exactly; of older ones every second is forgotten, again and again. */
const marksMax = 128;
/** So many producers are remembered, those that were heard of last. */
const producersMax = 256;

export function encodeRun({ position, count, publishedAt, packed }: PackedRun): Buffer {
  return new ByteWriter().u8(runFormat).whole(position).whole(count).f64(publishedAt).bytes(packed).done();
}

export function decodeRun(content: Buffer): PackedRun {
  const reader = new ByteReader(content, "a message");
  if (reader.u8() !== runFormat) throw reader.corrupt();
  const run = { position: reader.whole(), count: reader.whole(), publishedAt: reader.f64(), packed: reader.bytes() };
  reader.end();
  return run;
}

/** What is known of a partition as a whole. */
export class PartitionHead {
  /** The position that the next message gets. */
  next = 0;
  /** When the last run was stored; instants of one partition never go back. */
  publishedAt = 0;
  /**
   * What was appended last, until every group's queue has confirmed it. It is appended when this record is durable; who gets the lock next sends on what was not
   * sent to its end, and owners know by its positions what they have.
   */
  pending: PackedRun | undefined;
  /** In the order of their last use. */
  readonly #producers = new Map<string, ProducerMarks>();
  /** Where runs begin, and when they were stored; ascending. */
  #marks: { readonly position: number; readonly publishedAt: number }[] = [];

  add(count: number, now: number, packed: Buffer): PackedRun {
    this.publishedAt = Math.max(this.publishedAt, now);
    this.pending = { position: this.next, count, publishedAt: this.publishedAt, packed };
    this.#marks.push({ position: this.next, publishedAt: this.publishedAt });
    if (this.#marks.length > marksMax) {
      const half = marksMax / 2;
      this.#marks = this.#marks.filter((_, index) => index >= half || index % 2 === 0);
    }
    this.next += count;
    return this.pending;
  }

  // Producers ----------------------------------------------------------------------------------------------------------

  /** What became of the batch when it came before; `undefined` when it is news; or why it is refused. */
  check(mark: ProducerMark, count: number): { readonly known: Positions } | BatchRefusal | undefined {
    return ProducerMarks.check(this.#producers.get(mark.id), -1, mark, count);
  }

  /** Whether the producer's epoch is known here, or a higher one. */
  knowsEpoch({ id, epoch }: ProducerMark): boolean {
    return (this.#producers.get(id)?.epoch ?? -1) >= epoch;
  }

  /** The batch is stored. */
  remember(mark: ProducerMark, count: number, positions: Positions): void {
    const marks = this.#producers.get(mark.id) ?? new ProducerMarks(mark.epoch);
    marks.add(mark, count, positions);
    this.#use(mark.id, marks);
  }

  /** Lower epochs of the producer are fenced from now on. */
  raise({ id, epoch }: ProducerMark): void {
    if (!this.knowsEpoch({ id, epoch, sequence: 0 })) this.#use(id, new ProducerMarks(epoch));
  }

  #use(id: string, marks: ProducerMarks): void {
    this.#producers.delete(id);
    this.#producers.set(id, marks);
    if (this.#producers.size <= producersMax) return;
    const [oldest] = this.#producers.keys();
    this.#producers.delete(oldest!);
  }

  // Instants -----------------------------------------------------------------------------------------------------------

  /** When the message was stored, or the one before it of which that is known. */
  publishedAtOf(position: number): number | undefined {
    return (this.#marks.findLast((mark) => mark.position <= position) ?? this.#marks[0])?.publishedAt;
  }

  encode(): Buffer {
    const writer = new ByteWriter().u8(headFormat).whole(this.next).f64(this.publishedAt).whole(this.#marks.length);
    let last = 0;
    for (const { position, publishedAt } of this.#marks) {
      writer.whole(position - last).f64(publishedAt);
      last = position;
    }
    writer.whole(this.#producers.size);
    for (const [id, marks] of this.#producers) writer.text(id).bytes(marks.encode());
    if (this.pending === undefined) return writer.u8(0).done();
    return writer.u8(1).bytes(encodeRun(this.pending)).done();
  }

  static decode(bytes: Buffer): PartitionHead {
    const reader = new ByteReader(bytes, "a partition's record");
    if (reader.u8() !== headFormat) throw reader.corrupt();
    const head = new PartitionHead();
    head.next = reader.whole();
    head.publishedAt = reader.f64();
    let position = 0;
    for (let left = reader.whole(); left > 0; left--) {
      position += reader.whole();
      head.#marks.push({ position, publishedAt: reader.f64() });
    }
    for (let left = reader.whole(); left > 0; left--) {
      head.#producers.set(reader.text(), ProducerMarks.decode(reader.bytes()));
    }
    if (reader.u8() === 1) head.pending = decodeRun(reader.bytes());
    reader.end();
    return head;
  }
}
