import type { World } from "../world/index.ts";
import type { Algorithm, OpaqueState } from "./algorithms/algorithm.ts";
import { tooLong } from "./waiting.ts";
import { type Gate, WaitingLine } from "./waiting-line.ts";

/** Those who wait for one key. */
export interface KeyQueue {
  readonly state: OpaqueState;
  /** After how many milliseconds one who comes now would be through; `undefined` when it need not queue up. */
  refusalMs(now: number, count: number): number | undefined;
  /** Rejects at once, having taken nothing, when it is known to last longer than `waitMs`. */
  take(now: number, count: number, waitMs: number, signal: AbortSignal | undefined): Promise<void>;
  reset(state: OpaqueState): void;
}

/** Takes when the turn has come. Who leaves makes room for those behind. */
export class TurnQueue implements KeyQueue, Gate {
  readonly #algorithm: Algorithm<OpaqueState>;
  readonly #line: WaitingLine;
  readonly #ended: (queue: KeyQueue) => void;
  #state: OpaqueState;
  /** The state when all who wait are through, and when that is. */
  #planned: OpaqueState;
  #plannedAt: number;

  constructor(world: World, algorithm: Algorithm<OpaqueState>, state: OpaqueState, ended: (queue: KeyQueue) => void) {
    this.#algorithm = algorithm;
    this.#line = new WaitingLine(world, this);
    this.#ended = ended;
    this.#state = state;
    this.#planned = algorithm.copy(state);
    this.#plannedAt = Number.NEGATIVE_INFINITY;
  }

  get state(): OpaqueState {
    return this.#state;
  }

  refusalMs(now: number, count: number): number {
    return Math.max(1, Math.ceil(this.#turnAt(now, count) - now));
  }

  take(now: number, count: number, waitMs: number, signal: AbortSignal | undefined): Promise<void> {
    const turnAt = this.#turnAt(now, count);
    if (!(turnAt - now <= waitMs)) return Promise.reject(tooLong(count, Math.ceil(turnAt - now), waitMs));
    this.#plan(turnAt, count);
    return this.#line.wait(count, turnAt, signal);
  }

  reset(state: OpaqueState): void {
    this.#state = state;
    this.#line.wake();
  }

  admit(now: number, count: number): number {
    return this.#algorithm.decide(this.#state, now, count).retryAfterMs;
  }

  ended(): void {
    this.#ended(this);
  }

  #turnAt(now: number, count: number): number {
    if (this.#line.isStale) {
      this.#planned = this.#algorithm.copy(this.#state);
      this.#plannedAt = now;
      this.#line.replan((waiting) => this.#plan(this.#after(now, waiting), waiting));
    }
    return this.#after(now, count);
  }

  #after(now: number, count: number): number {
    const from = Math.max(now, this.#plannedAt);
    return from + this.#algorithm.waitMs(this.#planned, from, count);
  }

  #plan(turnAt: number, count: number): number {
    this.#algorithm.decide(this.#planned, turnAt, count);
    this.#plannedAt = turnAt;
    return turnAt;
  }
}

/** Takes at once, and waits for what was taken to be released. Who leaves, leaves its place empty. */
export class ReleaseQueue implements KeyQueue, Gate {
  readonly #algorithm: Algorithm<OpaqueState>;
  readonly #line: WaitingLine;
  readonly #ended: (queue: KeyQueue) => void;
  #state: OpaqueState;

  constructor(world: World, algorithm: Algorithm<OpaqueState>, state: OpaqueState, ended: (queue: KeyQueue) => void) {
    this.#algorithm = algorithm;
    this.#line = new WaitingLine(world, this);
    this.#ended = ended;
    this.#state = state;
  }

  get state(): OpaqueState {
    return this.#state;
  }

  refusalMs(): undefined {}

  take(now: number, count: number, waitMs: number, signal: AbortSignal | undefined): Promise<void> {
    const taken = this.#algorithm.copy(this.#state);
    const { allowed, retryAfterMs, delayMs } = this.#algorithm.decide(taken, now, count);
    if (allowed && delayMs <= waitMs) {
      this.#algorithm.decide(this.#state, now, count);
      return this.#line.wait(count, now + delayMs, signal);
    }
    if (this.#line.isEmpty) this.#ended(this);
    return Promise.reject(tooLong(count, allowed ? Math.ceil(delayMs) : retryAfterMs, waitMs));
  }

  reset(state: OpaqueState): void {
    this.#state = state;
  }

  admit(now: number, _count: number, turnAt: number): number {
    return Math.max(0, turnAt - now);
  }

  ended(): void {
    this.#ended(this);
  }
}
