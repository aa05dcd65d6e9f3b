import type { Appended } from "../../lanes/append-queues.ts";
import { type CheckedBatch, packChunks, packOne } from "../../lanes/batches.ts";
import { type Positions, ProducerMarks } from "../../lanes/producer-marks.ts";
import type { DelayedMessage, PartitionHead, RememberedProducer } from "./partition-head.ts";

/** A producer that was not heard of for so long is forgotten, and so are all but the last of very many. */
const producerMs = 15 * 60_000;
const producersMax = 512;

export interface BatchesParts {
  /** Of each producer, the highest epoch in the topic; negative when there is none. */
  readonly epochs: ReadonlyMap<string, number>;
  /** The server's clock: nothing that is due by it is delayed. */
  readonly now: number;
}

export interface Written {
  readonly head: PartitionHead;
  readonly packed: readonly Buffer[];
  /** For each batch. */
  readonly answers: readonly Appended[];
  /** Whether anything has to be stored. */
  readonly changed: boolean;
  /** How many messages are stored, delayed ones included. */
  readonly fresh: number;
  /** Producers of which an older epoch may have to be fenced. */
  readonly raised: ReadonlyMap<string, number>;
}

/** What a partition becomes when these batches are appended, each as a whole or not at all. Pure: the condition on the head decides whether it comes about. */
export function writeBatches(head: PartitionHead, batches: readonly CheckedBatch[], parts: BatchesParts): Written {
  const writing = new Writing(head, parts);
  const answers = batches.map((checked) => writing.append(checked));
  return writing.done(answers);
}

class Writing {
  readonly #head: PartitionHead;
  readonly #parts: BatchesParts;
  readonly #first: number;
  #next: number;
  #changed = false;
  readonly #packed: Buffer[] = [];
  readonly #later: DelayedMessage[] = [];
  readonly #producers: Map<string, RememberedProducer>;
  /** Of the producers that wrote, as they become. */
  readonly #own = new Map<string, ProducerMarks>();
  readonly #epochs: Map<string, number>;
  readonly #raised = new Map<string, number>();

  constructor(head: PartitionHead, parts: BatchesParts) {
    this.#head = head;
    this.#parts = parts;
    this.#first = head.first + head.count;
    this.#next = this.#first;
    this.#producers = new Map(head.producers);
    this.#epochs = new Map(parts.epochs);
  }

  append(checked: CheckedBatch): Appended {
    const { producer, messages } = checked.batch;
    if (producer !== undefined) {
      const marks = this.#marksOf(producer.id);
      const highest = this.#epochs.get(producer.id) ?? -1;
      // Of one that was forgotten here, or comes here first, nobody knows what it sent last.
      const epoch = marks === undefined && producer.epoch >= highest ? -1 : highest;
      const known = ProducerMarks.check(marks, epoch, producer, messages.length);
      if (known !== undefined) return "known" in known ? { positions: known.known } : known;
    }
    const { note } = this.#head.seal;
    if (note !== "") return { refused: "sealed", sealed: note };
    this.#changed = true;
    const positions = checked.special ? this.#addEach(checked) : this.#addAll(checked);
    if (producer !== undefined) this.#remember(checked, positions);
    return { positions };
  }

  #addAll(checked: CheckedBatch): number {
    const first = this.#next;
    for (const { packed } of packChunks(checked)) this.#packed.push(packed);
    this.#next += checked.batch.messages.length;
    return first;
  }

  /** What is due no later than what was released last is due by the clock of whoever released that. */
  #addEach(checked: CheckedBatch): Positions {
    const dueBy = Math.max(this.#parts.now, this.#head.released.dueAt);
    return checked.batch.messages.map(({ dueAt }, index) => {
      const packed = packOne(checked, index);
      if (dueAt !== undefined && Math.ceil(dueAt) > dueBy) {
        this.#later.push({ dueAt: Math.ceil(dueAt), packed });
        return -1;
      }
      this.#packed.push(packed);
      return this.#next++;
    });
  }

  #marksOf(producer: string): ProducerMarks | undefined {
    const remembered = this.#producers.get(producer);
    return this.#own.get(producer) ?? (remembered && ProducerMarks.decode(remembered.marks));
  }

  #remember({ batch }: CheckedBatch, positions: Positions): void {
    const { id, epoch } = batch.producer!;
    const marks = this.#marksOf(id) ?? new ProducerMarks(epoch);
    marks.add(batch.producer!, batch.messages.length, positions);
    this.#own.set(id, marks);
    this.#producers.delete(id);
    this.#producers.set(id, { usedAt: this.#parts.now, marks: marks.encode() });
    if (epoch > (this.#epochs.get(id) ?? -1)) {
      this.#epochs.set(id, epoch);
      this.#raised.set(id, epoch);
    }
  }

  done(answers: readonly Appended[]): Written {
    const { released, dueAt } = this.#head;
    const dues = this.#later.map((each) => each.dueAt);
    const head: PartitionHead = {
      first: this.#first,
      count: this.#next - this.#first,
      released,
      dueAt: dues.length === 0 ? dueAt : Math.min(...dues, dueAt < 0 ? Number.POSITIVE_INFINITY : dueAt),
      producers: this.#remembered(),
      limited: this.#head.limited,
      token: this.#head.token,
      seal: this.#head.seal,
      later: this.#later,
    };
    const fresh = head.count + head.later.length;
    return { head, packed: this.#packed, answers, changed: this.#changed, fresh, raised: this.#raised };
  }

  /** In the order of their last use. */
  #remembered(): ReadonlyMap<string, RememberedProducer> {
    let excess = this.#producers.size - producersMax;
    for (const [id, { usedAt }] of this.#producers) {
      if (excess <= 0 && usedAt > this.#parts.now - producerMs) break;
      if (this.#own.has(id)) break;
      this.#producers.delete(id);
      excess -= 1;
    }
    return this.#producers;
  }
}
