import type { Appended } from "../../lanes/append-queues.ts";
import { type CheckedBatch, packChunks, packOne } from "../../lanes/batches.ts";
import type { Positions } from "../../lanes/producer-marks.ts";
import { PartitionProducers } from "../partition-producers.ts";
import type { DelayedMessage, PartitionHead } from "./partition-head.ts";

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
  readonly #producers: PartitionProducers;

  constructor(head: PartitionHead, parts: BatchesParts) {
    this.#head = head;
    this.#parts = parts;
    this.#first = head.first + head.count;
    this.#next = this.#first;
    this.#producers = new PartitionProducers(head.producers, parts.epochs, parts.now);
  }

  append(checked: CheckedBatch): Appended {
    const { producer, messages } = checked.batch;
    if (producer !== undefined) {
      const known = this.#producers.check(producer, messages.length);
      if (known !== undefined) return known;
    }
    const { note } = this.#head.seal;
    if (note !== "") return { refused: "sealed", sealed: note };
    this.#changed = true;
    const positions = checked.special ? this.#addEach(checked) : this.#addAll(checked);
    if (producer !== undefined) this.#producers.add(producer, messages.length, positions);
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

  done(answers: readonly Appended[]): Written {
    const { released, dueAt } = this.#head;
    const dues = this.#later.map((each) => each.dueAt);
    const head: PartitionHead = {
      first: this.#first,
      count: this.#next - this.#first,
      released,
      dueAt: dues.length === 0 ? dueAt : Math.min(...dues, dueAt < 0 ? Number.POSITIVE_INFINITY : dueAt),
      producers: this.#producers.done(),
      limited: this.#head.limited,
      token: this.#head.token,
      seal: this.#head.seal,
      later: this.#later,
    };
    const fresh = head.count + head.later.length;
    return { head, packed: this.#packed, answers, changed: this.#changed, fresh, raised: this.#producers.raised };
  }
}
