import type { RateDecision, RateRule } from "../../contracts/rates.ts";
import type { Algorithm } from "./algorithm.ts";
import { allowed, refused } from "./decisions.ts";

interface LogState {
  /** The instants of the last units, as a ring that grows up to `limit`. */
  instants: Float64Array;
  oldest: number;
  used: number;
}

const capacityMin = 8;

/** A unit taken at `t` is counted up to `t + windowMs`, that instant excluded. */
export class SlidingLog implements Algorithm<LogState> {
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #countRefusals: boolean;

  constructor({ limit, windowMs, countRefusals = false }: Extract<RateRule, { type: "slidingLog" }>) {
    this.#limit = limit;
    this.#windowMs = windowMs;
    this.#countRefusals = countRefusals;
  }

  fresh(): LogState {
    return { instants: new Float64Array(Math.min(capacityMin, this.#limit)), oldest: 0, used: 0 };
  }

  copy({ instants, oldest, used }: LogState): LogState {
    return { instants: instants.slice(), oldest, used };
  }

  decide(state: LogState, now: number, count: number): RateDecision {
    this.#forget(state, now);
    const left = this.#limit - state.used;
    if (count <= left) {
      this.#remember(state, now, count);
      return allowed(left - count);
    }
    if (this.#countRefusals) this.#remember(state, now, count);
    return refused(this.#limit - state.used, this.#waitMs(state, now, count));
  }

  waitMs(state: LogState, now: number, count: number): number {
    this.#forget(state, now);
    return state.used + count <= this.#limit ? 0 : this.#waitMs(state, now, count);
  }

  #forget(state: LogState, now: number): void {
    const { instants } = state;
    while (state.used > 0 && now - instants[state.oldest]! >= this.#windowMs) {
      state.oldest = state.oldest + 1 === instants.length ? 0 : state.oldest + 1;
      state.used--;
    }
  }

  /** When more than `limit` are counted, because refusals are, the newest ones decide. */
  #remember(state: LogState, now: number, count: number): void {
    const used = Math.min(this.#limit, state.used + count);
    if (used > state.instants.length) this.#grow(state, used);
    const { instants } = state;
    for (let unit = 0; unit < count; unit++) {
      if (state.used === this.#limit) {
        instants[state.oldest] = now;
        state.oldest = state.oldest + 1 === instants.length ? 0 : state.oldest + 1;
      } else {
        instants[(state.oldest + state.used) % instants.length] = now;
        state.used++;
      }
    }
  }

  #grow(state: LogState, used: number): void {
    const { instants, oldest } = state;
    const larger = new Float64Array(Math.min(this.#limit, Math.max(used, instants.length * 2)));
    for (let unit = 0; unit < state.used; unit++) larger[unit] = instants[(oldest + unit) % instants.length]!;
    state.instants = larger;
    state.oldest = 0;
  }

  /** Until the unit is forgotten that is one too many. */
  #waitMs({ instants, oldest, used }: LogState, now: number, count: number): number {
    const last = instants[(oldest + used + count - this.#limit - 1) % instants.length]!;
    const waitMs = Math.max(1, Math.ceil(last + this.#windowMs - now));
    return now + waitMs - last >= this.#windowMs ? waitMs : waitMs + 1;
  }
}
