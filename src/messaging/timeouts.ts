import type { Cancel, World } from "../world/world.ts";

/** What can stand in a list of deadlines, with its links there. */
export interface Timed<T extends Timed<T>> {
  deadline: number;
  timeouts: Timeouts<T> | undefined;
  earlier: T | undefined;
  later: T | undefined;
}

/**
 * Running handlers in the order in which they expire, all after the same time: so new ones go to the end, and one timer serves
 * all of them. Adding and removing touch nothing but the links.
 */
export class Timeouts<T extends Timed<T>> {
  readonly #world: World;
  readonly #afterMs: number;
  readonly #expire: (item: T) => void;
  #first: T | undefined;
  #last: T | undefined;
  #timer: Cancel | undefined;
  /** The clock as it was read for the first of those that come together: reading it costs as much as the rest. */
  #now: number | undefined;

  constructor(world: World, afterMs: number, expire: (item: T) => void) {
    this.#world = world;
    this.#afterMs = afterMs;
    this.#expire = expire;
  }

  add(item: T): void {
    if (this.#now === undefined) {
      this.#now = this.#world.clock.monotonic();
      queueMicrotask(this.#forgetNow);
    }
    item.deadline = this.#now + this.#afterMs;
    item.timeouts = this;
    item.earlier = this.#last;
    if (this.#last === undefined) this.#first = item;
    else this.#last.later = item;
    this.#last = item;
    if (this.#timer === undefined) this.#arm(this.#afterMs);
  }

  readonly #forgetNow = (): void => {
    this.#now = undefined;
  };

  remove(item: T): void {
    const { earlier, later } = item;
    if (earlier === undefined) this.#first = later;
    else earlier.later = later;
    if (later === undefined) this.#last = earlier;
    else later.earlier = earlier;
    item.timeouts = undefined;
    item.earlier = undefined;
    item.later = undefined;
  }

  each(visit: (item: T) => void): void {
    for (let item = this.#first; item !== undefined; ) {
      const next: T | undefined = item.later;
      visit(item);
      item = next;
    }
  }

  #arm(ms: number): void {
    this.#timer = this.#world.timers.schedule(ms, this.#fire);
  }

  readonly #fire = (): void => {
    this.#timer = undefined;
    const now = this.#world.clock.monotonic();
    for (let first = this.#first; first !== undefined && first.deadline <= now; first = this.#first) {
      this.remove(first);
      this.#expire(first);
    }
    // Expiring may have armed it already, through an item that was added.
    if (this.#first !== undefined && this.#timer === undefined) this.#arm(Math.max(0, this.#first.deadline - now));
  };
}
