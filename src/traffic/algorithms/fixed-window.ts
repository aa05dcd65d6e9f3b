import type { RateDecision, RateRule } from "../../contracts/rates.ts";
import type { Algorithm } from "./algorithm.ts";
import { allowed, refused } from "./decisions.ts";

interface WindowState {
  /** When the window ends that `used` belongs to. */
  end: number;
  used: number;
}

export class FixedWindow implements Algorithm<WindowState> {
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #countRefusals: boolean;

  constructor({ limit, windowMs, countRefusals = false }: Extract<RateRule, { type: "fixedWindow" }>) {
    this.#limit = limit;
    this.#windowMs = windowMs;
    this.#countRefusals = countRefusals;
  }

  fresh(): WindowState {
    return { end: Number.NEGATIVE_INFINITY, used: 0 };
  }

  copy({ end, used }: WindowState): WindowState {
    return { end, used };
  }

  decide(state: WindowState, now: number, count: number): RateDecision {
    if (now >= state.end) this.#open(state, now);
    const left = this.#limit - state.used;
    if (count <= left) {
      state.used += count;
      return allowed(left - count);
    }
    if (this.#countRefusals) state.used = this.#limit;
    return refused(this.#limit - state.used, Math.ceil(state.end - now));
  }

  waitMs(state: WindowState, now: number, count: number): number {
    if (now >= state.end) this.#open(state, now);
    return state.used + count <= this.#limit ? 0 : Math.ceil(state.end - now);
  }

  #open(state: WindowState, now: number): void {
    // Exact, as both figures are whole.
    state.end = (Math.floor(now / this.#windowMs) + 1) * this.#windowMs;
    state.used = 0;
  }
}
