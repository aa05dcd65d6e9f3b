import { TenonError } from "../contracts/errors.ts";
import { systemWorld, type World } from "../world/index.ts";
import {
  type BucketLimits,
  type BucketOptions,
  type BucketState,
  bucketLimits,
  type Decision,
  decide,
  millisecondsUntil,
} from "./bucket-state.ts";

export interface TokenBucketOptions extends BucketOptions {
  readonly world?: World | undefined;
}

export interface TakeOptions {
  /** Leaves the queue when it aborts; the promise rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait. A call that would have to wait longer is refused at once. 10,000 when left out. */
  readonly waitMs?: number | undefined;
}

/**
 * Admits at most `burst + ratePerSecond × window` in any window, by the monotonic clock. It is local to this process.
 * It starts full.
 */
export interface TokenBucket {
  /** Decides now. Refuses while earlier callers of `take` wait. `invalid` when `count` is not above 0 or exceeds the burst. */
  tryTake(count?: number): Decision;
  /**
   * Waits for its turn: first come, first served. `overloaded` at once, with the field `retryAfterMs`, when those before it already
   * take longer than `waitMs`. `invalid` as in `tryTake`.
   */
  take(count?: number, options?: TakeOptions): Promise<void>;
}

export function tokenBucket(options: TokenBucketOptions): TokenBucket {
  return new LocalTokenBucket(bucketLimits(options), options.world ?? systemWorld());
}

interface Waiter {
  readonly count: number;
  readonly resolve: () => void;
  readonly signal: AbortSignal | undefined;
  readonly abort: () => void;
  gone: boolean;
}

class LocalTokenBucket implements TokenBucket {
  readonly #limits: BucketLimits;
  readonly #world: World;
  readonly #state: BucketState;
  /** In order of arrival; those before `#head` are served. */
  #waiters: Waiter[] = [];
  #head = 0;
  /** What the waiters want together, so that a newcomer's wait is known without walking the queue. */
  #wanted = 0;
  /** Ends the sleep of the one loop that serves the waiters; `undefined` when nobody waits. */
  #wake: AbortController | undefined;

  constructor(limits: BucketLimits, world: World) {
    this.#limits = limits;
    this.#world = world;
    this.#state = { tokens: limits.burst, at: world.clock.monotonic() };
  }

  tryTake(count = 1): Decision {
    const limits = this.#limits;
    if (!(count > 0 && count <= limits.burst)) throw impossible(count, limits);
    const now = this.#world.clock.monotonic();
    if (this.#wanted === 0) return decide(this.#state, limits, now, count);
    return {
      allowed: false,
      retryAfterMs: millisecondsUntil(this.#state, limits, now, this.#wanted + count),
      remaining: 0,
    };
  }

  take(count = 1, options: TakeOptions = {}): Promise<void> {
    const { signal, waitMs = 10_000 } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    let decision: Decision;
    try {
      decision = this.tryTake(count);
    } catch (error) {
      return Promise.reject(error);
    }
    if (decision.allowed) return Promise.resolve();
    if (!(decision.retryAfterMs <= waitMs)) return Promise.reject(tooLong(count, decision.retryAfterMs, waitMs));
    return this.#enqueue(count, signal);
  }

  #enqueue(count: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        waiter.gone = true;
        this.#wanted -= count;
        reject(signal?.reason);
        this.#wake?.abort();
      };
      const waiter: Waiter = { count, resolve, signal, abort, gone: false };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiters.push(waiter);
      this.#wanted += count;
      if (this.#wake === undefined) void this.#serve();
    });
  }

  /** Lets the waiters through in order, asleep in between. Ends when nobody waits. */
  async #serve(): Promise<void> {
    for (;;) {
      const delayMs = this.#admit();
      if (delayMs === undefined) break;
      const wake = new AbortController();
      this.#wake = wake;
      try {
        await this.#world.timers.sleep(delayMs, { signal: wake.signal });
      } catch (error) {
        // Somebody left; who is next may fit already.
        if (!wake.signal.aborted) throw error;
      }
    }
    this.#wake = undefined;
  }

  /** Serves whom it can; answers how long the next one has to wait. */
  #admit(): number | undefined {
    const now = this.#world.clock.monotonic();
    for (; this.#head < this.#waiters.length; this.#head++) {
      const waiter = this.#waiters[this.#head] as Waiter;
      if (waiter.gone) continue;
      const decision = decide(this.#state, this.#limits, now, waiter.count);
      if (!decision.allowed) {
        this.#forgetServed();
        return decision.retryAfterMs;
      }
      this.#wanted -= waiter.count;
      waiter.signal?.removeEventListener("abort", waiter.abort);
      waiter.resolve();
    }
    this.#waiters = [];
    this.#head = 0;
    this.#wanted = 0;
    return undefined;
  }

  #forgetServed(): void {
    if (this.#head < 1_024 || this.#head * 2 < this.#waiters.length) return;
    this.#waiters = this.#waiters.slice(this.#head);
    this.#head = 0;
  }
}

export function impossible(count: number, limits: BucketLimits): TenonError {
  return new TenonError(
    "invalid",
    `${count} tokens can never be taken from a bucket with a burst of ${limits.burst}. Take more than 0 and at most the burst, or raise the burst.`,
    {
      fields: { count, burst: limits.burst },
    },
  );
}

function tooLong(count: number, retryAfterMs: number, waitMs: number): TenonError {
  return new TenonError(
    "overloaded",
    `${count} tokens are to be had in ${retryAfterMs} ms, but the caller waits ${waitMs} ms at most. Shed the work, or come back later.`,
    {
      fields: { count, retryAfterMs, waitMs },
    },
  );
}
