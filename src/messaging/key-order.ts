/** What can stand in a queue of its key. */
export interface Queued {
  /** The next of the same key, while this one is before it. */
  behind: Queued | undefined;
  /** The queue that it stands in. */
  queue: KeyQueue | undefined;
}

/** The queue of one key; kept when it is empty, for the next of its key mostly comes soon. */
export class KeyQueue {
  last: Queued | undefined = undefined;
}

/** So many empty queues are kept beside as many as there are others. */
const emptyMax = 1_024;

/**
 * One queue per key, kept as chains of its members: whoever enters an empty one may go at once, everybody else goes
 * when the one before has left. Looking a key up once, and not again to leave it, halves what the order costs per message.
 */
export class KeyOrder<T extends Queued> {
  readonly #queues = new Map<string, KeyQueue>();
  #busy = 0;

  /** The one that it stands behind; `undefined` when it may go. */
  enter(key: string, member: T): T | undefined {
    let queue = this.#queues.get(key);
    if (queue === undefined) {
      queue = new KeyQueue();
      this.#queues.set(key, queue);
    }
    const last = queue.last as T | undefined;
    queue.last = member;
    member.queue = queue;
    if (last === undefined) this.#busy += 1;
    else last.behind = member;
    return last;
  }

  /** Takes the first of its key away; the answer is the one that may go now. */
  leave(first: T): T | undefined {
    const next = first.behind as T | undefined;
    first.behind = undefined;
    if (next === undefined) this.#emptied(first.queue!);
    return next;
  }

  /** How many keys have members. */
  get busyCount(): number {
    return this.#busy;
  }

  /** How many keys are remembered. */
  get keyCount(): number {
    return this.#queues.size;
  }

  #emptied(queue: KeyQueue): void {
    queue.last = undefined;
    this.#busy -= 1;
    if (this.#queues.size <= 2 * this.#busy + emptyMax) return;
    for (const [key, { last }] of this.#queues) if (last === undefined) this.#queues.delete(key);
  }
}
