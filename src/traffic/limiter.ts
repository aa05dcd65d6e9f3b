import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import { type CountBounds, checkCount, checkFigures, countBoundsOf } from "../contracts/rate-rules.ts";
import type { RateDecision, RateEngine, RateRule } from "../contracts/rates.ts";
import type { World } from "../world/index.ts";
import { KeyTurns } from "./key-turns.ts";
import { type RatesEngine, SharedKeys } from "./shared-key.ts";
import { checkMayWait, checkWaitMs, type TakeOptions, tooLong, waitMsDefault } from "./waiting.ts";

/**
 * A limit that all processes on the engine share, by the engine's clock: per key or, without one, for all together. What happens under one name and key
 * is counted together, whoever asks; give the same rule everywhere. Nothing is retried: a decision that fails with `outcome: "unknown"`
 * may have been counted.
 */
export interface Limiter {
  readonly name: string;
  /** Decides now. `invalid` for a count that the rule could never allow. */
  tryTake(key?: string, count?: number): Promise<RateDecision>;
  /**
   * Asks until the rule allows it, as often as its answers say, one caller of this process at a time per key: first come, first served among these.
   * `overloaded` as soon as it is known to last longer than `waitMs`. `invalid` as in `tryTake`, and for a rule that counts refusals.
   */
  take(key?: string, options?: TakeOptions): Promise<void>;
  /** Forgets what was counted for the key. */
  reset(key?: string): Promise<void>;
}

export function limiter(engine: RatesEngine, name: string, rule: RateRule): Limiter {
  checkEngine("limiter()", engine, "rates");
  checkFigures(rule, Number.MAX_SAFE_INTEGER);
  const { logLimitMax } = engine.rates.capabilities;
  if (rule.type === "slidingLog" && rule.limit > logLimitMax) {
    throw new TenonError(
      "unsupported",
      `The limit of the slidingLog limiter "${name}" is ${rule.limit}, but the engine remembers ${logLimitMax} units at most. Use slidingWindow, or a smaller limit.`,
      { fields: { name, limit: rule.limit, logLimitMax } },
    );
  }
  return new SharedLimiter(engine, name, rule);
}

class SharedLimiter implements Limiter {
  readonly name: string;
  readonly #engine: RateEngine;
  readonly #world: World;
  readonly #rule: RateRule;
  readonly #bounds: CountBounds;
  readonly #keys: SharedKeys;
  readonly #turns: KeyTurns;

  constructor({ rates, world }: RatesEngine, name: string, rule: RateRule) {
    this.name = name;
    this.#engine = rates;
    this.#world = world;
    this.#rule = rule;
    this.#bounds = countBoundsOf(rule);
    this.#keys = new SharedKeys(name, rates);
    this.#turns = new KeyTurns(world);
  }

  async tryTake(key = "", count = 1): Promise<RateDecision> {
    checkCount(this.#bounds, count);
    return this.#engine.decide(this.#keys.of(key), this.#rule, count);
  }

  async take(key = "", options: TakeOptions = {}): Promise<void> {
    const { count = 1, waitMs = waitMsDefault, signal } = options;
    checkCount(this.#bounds, count);
    checkWaitMs(waitMs);
    checkMayWait(this.#rule);
    signal?.throwIfAborted();
    const full = this.#keys.of(key);
    const deadline = this.#world.clock.monotonic() + waitMs;
    const endTurn = await this.#turns.take(full, waitMs, signal);
    if (endTurn === undefined) throw tooLong(count, Math.ceil(waitMs), waitMs);
    let delayMs: number;
    try {
      delayMs = await this.#untilAllowed(full, count, deadline, options);
    } finally {
      endTurn();
    }
    if (delayMs > 0) await this.#world.timers.sleep(delayMs, { signal });
  }

  async reset(key = ""): Promise<void> {
    await this.#engine.reset(this.#keys.of(key), this.#rule);
  }

  /** Answers how long to wait before going on. */
  async #untilAllowed(key: string, count: number, deadline: number, options: TakeOptions): Promise<number> {
    const { waitMs = waitMsDefault, signal } = options;
    for (;;) {
      const leftMs = deadline - this.#world.clock.monotonic();
      const rule = this.#ruleWithin(leftMs);
      if (rule.type === "leakyBucket" && count > rule.queueMax + 1) throw tooLong(count, Math.ceil(leftMs) + 1, waitMs);
      const { allowed, retryAfterMs, delayMs } = await this.#engine.decide(key, rule, count);
      signal?.throwIfAborted();
      if (allowed) return delayMs;
      // A leaky bucket's refusal is about its whole queue: the time until there is room comes before the time in it.
      if (rule.type === "leakyBucket" || !(this.#world.clock.monotonic() + retryAfterMs <= deadline)) {
        throw tooLong(count, retryAfterMs, waitMs);
      }
      await this.#world.timers.sleep(retryAfterMs, { signal });
    }
  }

  /** Of a leaky bucket's queue only as much as is released in time: a place that is taken cannot be given back. */
  #ruleWithin(leftMs: number): RateRule {
    const rule = this.#rule;
    if (rule.type !== "leakyBucket") return rule;
    const released = Math.floor((Math.max(0, leftMs) * rule.ratePerSecond) / 1_000);
    return released >= rule.queueMax ? rule : { ...rule, queueMax: released };
  }
}
