/** Ids are remembered for at least this long, and at least this many of them, whichever ends first. */
export const idWindowMs = 120_000;
export const idWindowCount = 1_000_000;

/**
 * The message ids of the last two minutes, with the offsets that their messages got. Two generations: the younger takes
 * new ids, the older is thrown away whole when the younger is full or two minutes old.
 */
export class IdWindow {
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #youngSince = 0;

  /** -1 for a message that was delayed; `undefined` when the id is new. */
  find(topic: number, id: string, now: number): number | undefined {
    this.#age(now);
    const name = `${topic}/${id}`;
    return this.#young.get(name) ?? this.#old.get(name);
  }

  add(topic: number, id: string, offset: number, now: number): void {
    this.#age(now);
    if (this.#young.size === 0) this.#youngSince = now;
    this.#young.set(`${topic}/${id}`, offset);
  }

  #age(now: number): void {
    if (this.#young.size < idWindowCount && now - this.#youngSince < idWindowMs) return;
    if (this.#young.size === 0) {
      this.#youngSince = now;
      if (this.#old.size > 0) this.#old = new Map();
      return;
    }
    this.#old = now - this.#youngSince >= 2 * idWindowMs ? new Map() : this.#young;
    this.#young = new Map();
    this.#youngSince = now;
  }
}
