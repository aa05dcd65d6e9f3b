import type { Topic } from "./catalogue.ts";
import type { Lane } from "./lanes.ts";
import { ActiveRuns } from "./message-index.ts";

/** One partition of a topic, or of a log. */
export class Queue {
  readonly id: number;
  readonly topic: Topic;
  readonly partition: number;
  /** The offset that the next message gets. */
  next = 0;
  /** Messages below are durable, so lanes may see them. */
  visible = 0;
  /** Where its messages lie in the active segment. */
  active: ActiveRuns | undefined;
  /** What the batch being gathered adds; see `Queues.advance`. */
  pending: PendingTail | undefined;
  readonly lanes: Lane[] = [];
  /** Of a log: the first offset that is kept. */
  start = 0;
  /** Of a log: when the last record was appended. */
  appendedAt = 0;
  /** Of a log: who waits for the next record. */
  readonly waiting = new Set<() => void>();
  /** How many messages lie between the lowest one that some group has not settled and the end; see `recount`. */
  kept = 0;

  constructor(id: number, topic: Topic, partition: number) {
    this.id = id;
    this.topic = topic;
    this.partition = partition;
  }

  /** What lies below is needed by nobody: the lowest offset that some group has not settled; without groups everything counts as settled. */
  get settledBelow(): number {
    if (this.topic.log !== undefined) return this.start;
    let low = this.next;
    for (const lane of this.lanes) low = Math.min(low, lane.settled.low);
    return low;
  }

  /** The instant of what is appended now. A log's never decrease, whatever the clock does: by them it is searched. */
  instant(now: number): number {
    return this.topic.log === undefined ? now : Math.max(now, this.appendedAt);
  }

  /** As it was written. */
  startAt(start: number): void {
    const isPlace = this.topic.log !== undefined && Number.isInteger(start) && start >= 0 && start <= this.next;
    if (!isPlace) throw new RangeError(`a log that starts at ${start}, and ends at ${this.next}`);
    this.start = start;
  }

  wakeAll(): void {
    for (const wake of this.waiting) wake();
    this.waiting.clear();
  }

  /** Brings `kept`, and its topic's count of it, up to date with what the groups have settled. */
  recount(): void {
    if (this.topic.log !== undefined) return;
    const kept = this.next - this.settledBelow;
    this.topic.keptCount += kept - this.kept;
    this.kept = kept;
  }

  /** A lane that stood at `low` has gone on. Only the slowest one's progress counts. */
  settledFrom(low: number): void {
    if (low <= this.next - this.kept) this.recount();
  }
}

/** The end of a queue as one journal batch will leave it. */
export interface PendingTail {
  readonly queue: Queue;
  readonly batch: number;
  next: number;
}

/**
 * The ends of all queues. What is appended becomes visible when the journal batch that carries it is durable; until then
 * it is remembered per batch and queue.
 */
export class Queues {
  /** Queues with runs in the active segment. */
  #activeQueues: Queue[] = [];
  readonly #pending: PendingTail[] = [];

  get activeQueues(): readonly Queue[] {
    return this.#activeQueues;
  }

  /** Notes a run that was just written. `record` is its offset within the segment's file. */
  add(queue: Queue, first: number, count: number, segment: number, record: number, bytes: number): void {
    if (count === 0) return;
    if (queue.active === undefined) {
      queue.active = new ActiveRuns(segment);
      this.#activeQueues.push(queue);
    }
    queue.active.add(first, count, record, bytes);
  }

  /** Messages up to `next` are in the batch with this number. */
  advance(queue: Queue, next: number, batch: number): void {
    if (queue.lanes.length > 0) {
      queue.kept += next - queue.next;
      queue.topic.keptCount += next - queue.next;
    }
    queue.next = next;
    const pending = queue.pending;
    if (pending !== undefined && pending.batch === batch) pending.next = next;
    else {
      queue.pending = { queue, batch, next };
      this.#pending.push(queue.pending);
    }
  }

  /** Makes visible what the batches up to this one carried. */
  durable(batch: number): void {
    let done = 0;
    for (const tail of this.#pending) {
      if (tail.batch > batch) break;
      done += 1;
      const queue = tail.queue;
      queue.visible = tail.next;
      if (queue.pending === tail) queue.pending = undefined;
      for (const lane of queue.lanes) lane.owner?.wake();
      queue.wakeAll();
    }
    this.#pending.splice(0, done);
  }

  /** The topic of these was removed: the active segment's footer need not name them. */
  removed(queues: readonly Queue[]): void {
    for (const queue of queues) queue.active = undefined;
    this.#activeQueues = this.#activeQueues.filter((queue) => queue.active !== undefined);
  }

  /** The active segment was sealed. */
  sealed(): void {
    for (const queue of this.#activeQueues) queue.active = undefined;
    this.#activeQueues = [];
  }
}
