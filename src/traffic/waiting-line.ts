import type { World } from "../world/index.ts";

interface Waiter {
  readonly count: number;
  readonly resolve: () => void;
  readonly signal: AbortSignal | undefined;
  readonly abort: () => void;
  /** When it will have its turn, by what is known now. */
  turnAt: number;
  gone: boolean;
}

/** What lets the first one through. */
export interface Gate {
  /** 0: it may go, and what it wants is taken; else after how many milliseconds to ask again. */
  admit(now: number, count: number, turnAt: number): number;
  /** Nobody waits any more. */
  ended(): void;
}

/** Those who wait, served in the order in which they came, by one loop that sleeps in between and ends when nobody waits. */
export class WaitingLine {
  readonly #world: World;
  readonly #gate: Gate;
  /** Those before `#head` are served. */
  #waiters: Waiter[] = [];
  #head = 0;
  /** Ends the loop's sleep; `undefined` when nobody waits. */
  #wake: AbortController | undefined;
  /** Set when the turns of those who wait have changed. */
  #stale = false;

  constructor(world: World, gate: Gate) {
    this.#world = world;
    this.#gate = gate;
  }

  get isEmpty(): boolean {
    return this.#wake === undefined;
  }

  /** Whether `replan` is due: somebody left, or the turns come later than planned. */
  get isStale(): boolean {
    return this.#stale;
  }

  /** Gives everybody who waits a new turn, first to last. */
  replan(turnAt: (count: number) => number): void {
    this.#stale = false;
    for (let index = this.#head; index < this.#waiters.length; index++) {
      const waiter = this.#waiters[index] as Waiter;
      if (!waiter.gone) waiter.turnAt = turnAt(waiter.count);
    }
  }

  wait(count: number, turnAt: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        waiter.gone = true;
        this.#stale = true;
        reject(signal?.reason);
        this.#wake?.abort();
      };
      const waiter: Waiter = { count, resolve, signal, abort, turnAt, gone: false };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiters.push(waiter);
      if (this.#wake === undefined) void this.#serve();
    });
  }

  /** Looks at once whether somebody may go. */
  wake(): void {
    this.#stale = true;
    this.#wake?.abort();
  }

  async #serve(): Promise<void> {
    for (;;) {
      const delayMs = this.#admit();
      if (delayMs === undefined) break;
      const wake = new AbortController();
      this.#wake = wake;
      try {
        await this.#world.timers.sleep(delayMs, { signal: wake.signal });
      } catch (error) {
        if (!wake.signal.aborted) throw error;
      }
    }
    this.#wake = undefined;
    this.#gate.ended();
  }

  /** Serves whom it can; answers how long the next one has to wait. */
  #admit(): number | undefined {
    const now = this.#world.clock.monotonic();
    for (; this.#head < this.#waiters.length; this.#head++) {
      const waiter = this.#waiters[this.#head] as Waiter;
      if (waiter.gone) continue;
      const delayMs = this.#gate.admit(now, waiter.count, waiter.turnAt);
      if (delayMs > 0) {
        this.#forgetServed();
        return delayMs;
      }
      if (now - waiter.turnAt > latenessToleratedMs) this.#stale = true;
      waiter.signal?.removeEventListener("abort", waiter.abort);
      waiter.resolve();
    }
    this.#waiters = [];
    this.#head = 0;
    return undefined;
  }

  #forgetServed(): void {
    if (this.#head < 1_024 || this.#head * 2 < this.#waiters.length) return;
    this.#waiters = this.#waiters.slice(this.#head);
    this.#head = 0;
  }
}

/** Timers are late by a little; the turns of those behind are planned anew when it has added up to this. */
const latenessToleratedMs = 10;
