import type { RateDecision, RateRule } from "../../contracts/rates.ts";
import type { Algorithm } from "./algorithm.ts";
import { allowed, refused } from "./decisions.ts";

interface QueueState {
  /** When the next unit to come could leave. */
  nextAt: number;
}

/** So much of a unit may be missing, lest rounding refuse what has just become free. */
const tolerance = 1e-9;

/** Units leave one by one, `1 / ratePerSecond` apart. A request goes on when the last of its units leaves. */
export class LeakyBucket implements Algorithm<QueueState> {
  readonly #intervalMs: number;
  readonly #queueMax: number;

  constructor({ ratePerSecond, queueMax }: Extract<RateRule, { type: "leakyBucket" }>) {
    this.#intervalMs = 1_000 / ratePerSecond;
    this.#queueMax = queueMax;
  }

  fresh(): QueueState {
    return { nextAt: Number.NEGATIVE_INFINITY };
  }

  copy({ nextAt }: QueueState): QueueState {
    return { nextAt };
  }

  decide(state: QueueState, now: number, count: number): RateDecision {
    const waitMs = this.waitMs(state, now, count);
    if (waitMs > 0) return refused(this.#free(state, now), waitMs);
    const first = Math.max(now, state.nextAt);
    state.nextAt = first + count * this.#intervalMs;
    return allowed(this.#free(state, now), Math.max(0, state.nextAt - this.#intervalMs - now));
  }

  waitMs(state: QueueState, now: number, count: number): number {
    const missing = this.#queued(state, now) + count - 1 - this.#queueMax;
    return missing <= tolerance ? 0 : Math.max(1, Math.ceil((missing - tolerance / 2) * this.#intervalMs));
  }

  /** How many units there are whose successor cannot leave yet. */
  #queued({ nextAt }: QueueState, now: number): number {
    return nextAt > now ? (nextAt - now) / this.#intervalMs : 0;
  }

  #free(state: QueueState, now: number): number {
    return Math.max(0, Math.floor(this.#queueMax + 1 - this.#queued(state, now) + tolerance));
  }
}
