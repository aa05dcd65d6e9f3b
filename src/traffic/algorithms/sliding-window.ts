import type { RateDecision, RateRule } from "../../contracts/rates.ts";
import type { Algorithm } from "./algorithm.ts";
import { allowed, refused } from "./decisions.ts";

interface CellsState {
  /** The number of the current cell since the clock's start. */
  cell: number;
  /** What was counted in the last `counts.length` cells; a cell stands at its number modulo their length. */
  readonly counts: number[];
  used: number;
}

/**
 * A window of N cells touches N + 1 of them, the oldest in part. All of it is counted until it lies outside, so that the limit is never exceeded.
 */
export class SlidingWindow implements Algorithm<CellsState> {
  readonly #limit: number;
  readonly #cells: number;
  readonly #windowMs: number;
  readonly #countRefusals: boolean;

  constructor({ limit, windowMs, cells, countRefusals = false }: Extract<RateRule, { type: "slidingWindow" }>) {
    this.#limit = limit;
    this.#cells = cells;
    this.#windowMs = windowMs;
    this.#countRefusals = countRefusals;
  }

  fresh(now: number): CellsState {
    return { cell: this.#cellAt(now), counts: new Array<number>(this.#cells + 1).fill(0), used: 0 };
  }

  copy({ cell, counts, used }: CellsState): CellsState {
    return { cell, counts: counts.slice(), used };
  }

  decide(state: CellsState, now: number, count: number): RateDecision {
    this.#advance(state, now);
    const left = this.#limit - state.used;
    if (count <= left) {
      this.#add(state, count);
      return allowed(left - count);
    }
    if (this.#countRefusals) this.#add(state, count);
    return refused(Math.max(0, this.#limit - state.used), this.#waitMs(state, now, count));
  }

  waitMs(state: CellsState, now: number, count: number): number {
    this.#advance(state, now);
    return state.used + count <= this.#limit ? 0 : this.#waitMs(state, now, count);
  }

  #cellAt(now: number): number {
    // Both factors are whole, so that at whole milliseconds no edge is moved by rounding.
    return Math.floor((now * this.#cells) / this.#windowMs);
  }

  #advance(state: CellsState, now: number): void {
    const cell = this.#cellAt(now);
    if (cell === state.cell) return;
    const { counts } = state;
    if (state.used > 0) {
      const gone = Math.min(cell - state.cell, counts.length);
      for (let step = 1; step <= gone; step++) {
        const index = (state.cell + step) % counts.length;
        state.used -= counts[index]!;
        counts[index] = 0;
      }
    }
    state.cell = cell;
  }

  #add(state: CellsState, count: number): void {
    state.counts[state.cell % state.counts.length]! += count;
    state.used += count;
  }

  /** Until enough of the oldest cells lie outside. */
  #waitMs(state: CellsState, now: number, count: number): number {
    const { counts, cell } = state;
    let excess = state.used + count - this.#limit;
    let outside = cell;
    for (let step = 1; excess > 0 && step <= counts.length; step++) {
      excess -= counts[(cell + step) % counts.length]!;
      outside = cell + step;
    }
    const waitMs = Math.max(1, Math.ceil((outside * this.#windowMs) / this.#cells - now));
    // Rounding must not make the answer a millisecond early.
    return this.#cellAt(now + waitMs) >= outside ? waitMs : waitMs + 1;
  }
}
