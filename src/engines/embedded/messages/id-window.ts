/** Ids are remembered for at least this long, and at least this many of them, whichever ends first. */
export const idWindowMs = 120_000;
export const idWindowCount = 1_000_000;

/** More than any topic has partitions. */
const placesPerOffset = 2_048;

/** Where a message is, as one number: its partition and offset; -1 while it is delayed. */
export function placeOf(partition: number, offset: number): number {
  return offset < 0 ? -1 : offset * placesPerOffset + partition;
}

/** The offset of a place, or -1 when it is in another partition or in none yet. */
export function offsetIn(partition: number, place: number): number {
  return place >= 0 && place % placesPerOffset === partition ? Math.floor(place / placesPerOffset) : -1;
}

/**
 * The message ids of the last two minutes, with the places of their messages. Two generations: the younger takes
 * new ids, the older is thrown away whole when the younger is full or two minutes old.
 */
export class IdWindow {
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #youngSince = 0;
  /** When the segments were sealed whose footers hold ids; opening reads them from there. */
  readonly #sealedAt = new Map<number, number>();

  /** -1 for a message that was delayed; `undefined` when the id is new. */
  find(topic: number, id: string, now: number): number | undefined {
    this.#age(now);
    const name = `${topic}/${id}`;
    return this.#young.get(name) ?? this.#old.get(name);
  }

  add(topic: number, id: string, place: number, now: number): void {
    this.#age(now);
    if (this.#young.size === 0) this.#youngSince = now;
    this.#young.set(`${topic}/${id}`, place);
  }

  /** The segment's footer, written at that instant, holds ids. */
  sealed(segment: number, at: number): void {
    this.#sealedAt.set(segment, at);
  }

  /** Whether ids that are still remembered would be forgotten by the next opening without this segment. */
  needs(segment: number, now: number): boolean {
    const at = this.#sealedAt.get(segment);
    if (at === undefined) return false;
    if (now - at < idWindowMs) return true;
    this.#sealedAt.delete(segment);
    return false;
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
