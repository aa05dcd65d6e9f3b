import { type CountBounds, checkCount, checkFigures, countBoundsOf } from "../contracts/rate-rules.ts";
import type { RateDecision, RateRule } from "../contracts/rates.ts";
import { systemWorld, type World } from "../world/index.ts";
import { type Algorithm, algorithmOf, type OpaqueState } from "./algorithms/algorithm.ts";
import { type KeyQueue, ReleaseQueue, TurnQueue } from "./key-queue.ts";
import { KeyStates } from "./key-states.ts";
import { checkMayWait, checkWaitMs, type TakeOptions, tooLong, waitMsDefault } from "./waiting.ts";

export interface LocalLimiterOptions {
  /** Keys remembered at most; 100,000 when left out. */
  readonly keysMax?: number | undefined;
  readonly world?: World | undefined;
}

/**
 * Decides how often something may happen in this process, by the monotonic clock: per key or, without one, for all together (the key "").
 *
 * A key is forgotten no sooner than `keysMax / 2` other keys have come after its last use; it then starts anew. The limit is therefore exact as long as
 * fewer than that many keys come within the time that its rule looks back.
 */
export interface LocalLimiter {
  /** Decides now. Refuses while earlier callers of `take` wait for the key. `invalid` for a count that the rule could never allow. */
  tryTake(key?: string, count?: number): RateDecision;
  /**
   * Waits for its turn: first come, first served per key. `overloaded` at once, with the field `retryAfterMs`, when those before it already
   * take longer than `waitMs`. `invalid` as in `tryTake`, and for a rule that counts refusals.
   */
  take(key?: string, options?: TakeOptions): Promise<void>;
  /** Forgets what was counted for the key. */
  reset(key?: string): void;
  /** How many keys are remembered. */
  readonly size: number;
}

export function localLimiter(rule: RateRule, options: LocalLimiterOptions = {}): LocalLimiter {
  checkFigures(rule, logLimitMax);
  return new MemoryLimiter(rule, options.keysMax ?? 100_000, options.world ?? systemWorld());
}

/** The largest `limit` of a local sliding log: each of its units is remembered. */
const logLimitMax = 1_000_000;

class MemoryLimiter implements LocalLimiter {
  readonly #rule: RateRule;
  readonly #bounds: CountBounds;
  readonly #algorithm: Algorithm<OpaqueState>;
  readonly #world: World;
  readonly #states: KeyStates<OpaqueState>;
  readonly #queues = new Map<string, KeyQueue>();
  /** The last key and its state: who asks for it again, as everybody does who has no keys, looks nothing up. */
  #lastKey: string | undefined;
  #lastState: OpaqueState | undefined;

  constructor(rule: RateRule, keysMax: number, world: World) {
    const algorithm = algorithmOf(rule);
    this.#rule = rule;
    this.#bounds = countBoundsOf(rule);
    this.#algorithm = algorithm;
    this.#world = world;
    this.#states = new KeyStates(keysMax, (now) => algorithm.fresh(now));
  }

  get size(): number {
    return this.#states.size;
  }

  tryTake(key = "", count = 1): RateDecision {
    if (count !== 1) checkCount(this.#bounds, count);
    const now = this.#world.clock.monotonic();
    if (this.#queues.size > 0) {
      const retryAfterMs = this.#queues.get(key)?.refusalMs(now, count);
      if (retryAfterMs !== undefined) return { allowed: false, retryAfterMs, remaining: 0, delayMs: 0 };
    }
    return this.#algorithm.decide(this.#state(key, now), now, count);
  }

  async take(key = "", options: TakeOptions = {}): Promise<void> {
    const { count = 1, waitMs = waitMsDefault, signal } = options;
    checkCount(this.#bounds, count);
    checkWaitMs(waitMs);
    checkMayWait(this.#rule);
    signal?.throwIfAborted();
    const now = this.#world.clock.monotonic();
    const state = this.#state(key, now);
    const queue = this.#queues.get(key);
    if (queue !== undefined) return queue.take(now, count, waitMs, signal);
    if (this.#rule.type !== "leakyBucket") {
      const { allowed, retryAfterMs } = this.#algorithm.decide(state, now, count);
      if (allowed) return;
      if (!(retryAfterMs <= waitMs)) throw tooLong(count, retryAfterMs, waitMs);
    }
    return this.#queue(key, state).take(now, count, waitMs, signal);
  }

  reset(key = ""): void {
    const now = this.#world.clock.monotonic();
    const state = this.#algorithm.fresh(now);
    this.#remember(key, state);
    this.#queues.get(key)?.reset(state);
  }

  #state(key: string, now: number): OpaqueState {
    if (key === this.#lastKey) return this.#lastState as OpaqueState;
    const state = this.#states.get(key, now);
    this.#lastKey = key;
    this.#lastState = state;
    return state;
  }

  #remember(key: string, state: OpaqueState): void {
    this.#states.set(key, state);
    if (key === this.#lastKey) this.#lastState = state;
  }

  #queue(key: string, state: OpaqueState): KeyQueue {
    const Queue = this.#rule.type === "leakyBucket" ? ReleaseQueue : TurnQueue;
    const queue = new Queue(this.#world, this.#algorithm, state, (ended) => {
      this.#queues.delete(key);
      // The key may have been forgotten while it had nobody but waiters.
      this.#remember(key, ended.state);
    });
    this.#queues.set(key, queue);
    return queue;
  }
}
