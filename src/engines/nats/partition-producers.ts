import type { ProducerMark } from "../../contracts/messages.ts";
import type { BatchRefusal } from "../lanes/batches.ts";
import { type Positions, ProducerMarks } from "../lanes/producer-marks.ts";
import type { ByteReader, ByteWriter } from "../shared/binary.ts";

/** A producer that was not heard of for so long is forgotten, and so are all but the last of very many. */
const producerMs = 15 * 60_000;
const producersMax = 512;

export interface RememberedProducer {
  /** By the server's clock, more or less. */
  readonly usedAt: number;
  /** `ProducerMarks`, encoded. */
  readonly marks: Buffer;
}

/** What is remembered of producers in one partition, in the order of their last use. */
export type RememberedProducers = ReadonlyMap<string, RememberedProducer>;

export function writeProducers(writer: ByteWriter, producers: RememberedProducers): void {
  writer.whole(producers.size);
  for (const [id, { usedAt, marks }] of producers) writer.text(id).f64(usedAt).bytes(marks);
}

export function readProducers(reader: ByteReader): RememberedProducers {
  const producers = new Map<string, RememberedProducer>();
  for (let left = reader.whole(); left > 0; left--) {
    const id = reader.text();
    producers.set(id, { usedAt: reader.f64(), marks: reader.bytes() });
  }
  return producers;
}

/** The producers of a partition while batches are appended to it. */
export class PartitionProducers {
  readonly #now: number;
  readonly #remembered: Map<string, RememberedProducer>;
  /** Of those that wrote, as they become. */
  readonly #own = new Map<string, ProducerMarks>();
  readonly #epochs: Map<string, number>;
  /** Producers of which an older epoch may have to be fenced. */
  readonly raised = new Map<string, number>();

  /** `epochs`: of each producer the highest everywhere; negative when there is none. `now`: by the server's clock. */
  constructor(remembered: RememberedProducers, epochs: ReadonlyMap<string, number>, now: number) {
    this.#remembered = new Map(remembered);
    this.#epochs = new Map(epochs);
    this.#now = now;
  }

  /** What became of the batch when it came before; `undefined` when it is news; or why it is refused. */
  check(mark: ProducerMark, count: number): { readonly positions: Positions } | BatchRefusal | undefined {
    const marks = this.#marksOf(mark.id);
    const highest = this.#epochs.get(mark.id) ?? -1;
    // Of one that was forgotten here, or comes here first, nobody knows what it sent last.
    const epoch = marks === undefined && mark.epoch >= highest ? -1 : highest;
    const known = ProducerMarks.check(marks, epoch, mark, count);
    return known !== undefined && "known" in known ? { positions: known.known } : known;
  }

  /** The batch is stored. */
  add(mark: ProducerMark, count: number, positions: Positions): void {
    const { id, epoch } = mark;
    const marks = this.#marksOf(id) ?? new ProducerMarks(epoch);
    marks.add(mark, count, positions);
    this.#own.set(id, marks);
    this.#remembered.delete(id);
    this.#remembered.set(id, { usedAt: this.#now, marks: marks.encode() });
    if (epoch <= (this.#epochs.get(id) ?? -1)) return;
    this.#epochs.set(id, epoch);
    this.raised.set(id, epoch);
  }

  #marksOf(producer: string): ProducerMarks | undefined {
    const remembered = this.#remembered.get(producer);
    return this.#own.get(producer) ?? (remembered && ProducerMarks.decode(remembered.marks));
  }

  /** What is to be remembered from now on. */
  done(): RememberedProducers {
    let excess = this.#remembered.size - producersMax;
    for (const [id, { usedAt }] of this.#remembered) {
      if (excess <= 0 && usedAt > this.#now - producerMs) break;
      if (this.#own.has(id)) break;
      this.#remembered.delete(id);
      excess -= 1;
    }
    return this.#remembered;
  }
}
