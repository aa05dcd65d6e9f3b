/** What can stand in a queue of its key. */
export interface Queued {
  /** The next of the same key, while this one is before it. */
  behind: Queued | undefined;
}

/**
 * One queue per key, kept as chains of its members: whoever enters an empty one may go at once, everybody else goes
 * when the one before has left. A key without members costs nothing.
 */
export class KeyOrder<T extends Queued> {
  readonly #tails = new Map<string, T>();

  /** The one that it stands behind; `undefined` when it may go. */
  enter(key: string, member: T): T | undefined {
    const tail = this.#tails.get(key);
    this.#tails.set(key, member);
    if (tail !== undefined) tail.behind = member;
    return tail;
  }

  /** Takes the first of a key away; the answer is the one that may go now. */
  leave(key: string, first: T): T | undefined {
    const next = first.behind as T | undefined;
    first.behind = undefined;
    if (next === undefined) this.#tails.delete(key);
    return next;
  }

  get keyCount(): number {
    return this.#tails.size;
  }
}
