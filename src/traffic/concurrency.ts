import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import { checkConcurrency } from "../contracts/rate-rules.ts";
import type { ConcurrencyRule, RateDecision, RateEngine } from "../contracts/rates.ts";
import type { World } from "../world/index.ts";
import { KeyTurns } from "./key-turns.ts";
import { type RatesEngine, SharedKeys } from "./shared-key.ts";
import { checkWaitMs, tooLong, type WaitOptions, waitMsDefault } from "./waiting.ts";

/** The answer to who asks to enter; when `allowed`, the permit itself. Releasing a refusal, or twice, does nothing. */
export interface Permit extends RateDecision, AsyncDisposable {
  /** Disposing does the same, but only logs a failure: what could not be given back ends after `holdMs`. */
  release(): Promise<void>;
  /** The full `holdMs` again from now. `false` when it was released, or had ended and nothing is free. */
  renew(): Promise<boolean>;
}

/**
 * At most `limit` permits at a time over all processes on the engine: per key or, without one, for all together. A permit that is not given back, because its
 * process died, ends after `holdMs` by the engine's clock.
 */
export interface ConcurrencyLimiter {
  readonly name: string;
  /** Decides now. When refused, `retryAfterMs` is the time until the first permit ends by itself. */
  tryEnter(key?: string): Promise<Permit>;
  /**
   * Asks until there is a permit: at once when this process releases one, else every `pollMs`. One caller of this process at a time per key: first come,
   * first served among these. `overloaded` when `waitMs` has passed.
   */
  enter(key?: string, options?: WaitOptions): Promise<Permit>;
  /** Forgets all permits of the key. */
  reset(key?: string): Promise<void>;
}

export interface ConcurrencyLimiterOptions {
  /** 100 when left out. */
  readonly pollMs?: number | undefined;
}

export function concurrencyLimiter(
  engine: RatesEngine,
  name: string,
  rule: ConcurrencyRule,
  options: ConcurrencyLimiterOptions = {},
): ConcurrencyLimiter {
  checkEngine("concurrencyLimiter()", engine, "rates");
  checkConcurrency(rule, { logLimitMax: Number.MAX_SAFE_INTEGER });
  const { pollMs = 100 } = options;
  if (!(Number.isFinite(pollMs) && pollMs >= 1)) {
    throw new TenonError("invalid", `pollMs is ${pollMs}. Give a finite number of milliseconds of at least 1.`, {
      fields: { name, pollMs },
    });
  }
  const { logLimitMax } = engine.rates.capabilities;
  if (rule.limit > logLimitMax) {
    throw new TenonError(
      "unsupported",
      `The limit of the concurrency limiter "${name}" is ${rule.limit}, but the engine remembers ${logLimitMax} permits at most.`,
      { fields: { name, limit: rule.limit, logLimitMax } },
    );
  }
  return new SharedConcurrencyLimiter(engine, name, rule, pollMs);
}

class SharedConcurrencyLimiter implements ConcurrencyLimiter {
  readonly name: string;
  readonly #engine: RateEngine;
  readonly #world: World;
  readonly #rule: ConcurrencyRule;
  readonly #pollMs: number;
  readonly #keys: SharedKeys;
  readonly #turns: KeyTurns;
  /** Ends the sleep of the one who asks for the key again and again. */
  readonly #sleepers = new Map<string, AbortController>();

  constructor({ rates, world }: RatesEngine, name: string, rule: ConcurrencyRule, pollMs: number) {
    this.name = name;
    this.#engine = rates;
    this.#world = world;
    this.#rule = rule;
    this.#pollMs = pollMs;
    this.#keys = new SharedKeys(name, rates);
    this.#turns = new KeyTurns(world);
  }

  async tryEnter(key = ""): Promise<Permit> {
    return this.#ask(this.#keys.of(key), undefined);
  }

  async enter(key = "", { waitMs = waitMsDefault, signal }: WaitOptions = {}): Promise<Permit> {
    checkWaitMs(waitMs);
    signal?.throwIfAborted();
    const full = this.#keys.of(key);
    const deadline = this.#world.clock.monotonic() + waitMs;
    const endTurn = await this.#turns.take(full, waitMs, signal);
    if (endTurn === undefined) throw tooLong(1, Math.ceil(waitMs), waitMs);
    try {
      for (;;) {
        const permit = await this.#ask(full, signal);
        if (permit.allowed) return permit;
        const leftMs = deadline - this.#world.clock.monotonic();
        if (!(leftMs > 0)) throw tooLong(1, permit.retryAfterMs, waitMs);
        await this.#sleep(full, Math.min(this.#nextPollMs(), permit.retryAfterMs, leftMs), signal);
      }
    } finally {
      endTurn();
    }
  }

  async reset(key = ""): Promise<void> {
    const full = this.#keys.of(key);
    await this.#engine.reset(full, this.#rule);
    this.#sleepers.get(full)?.abort();
  }

  async #ask(key: string, signal: AbortSignal | undefined): Promise<Permit> {
    const id = this.#world.random.uuid();
    let decision: RateDecision;
    try {
      decision = await this.#engine.enter(key, this.#rule, id);
      signal?.throwIfAborted();
    } catch (error) {
      // It may have a permit all the same.
      if (!(error instanceof TenonError) || error.outcome === "unknown") await this.#leaveQuietly(key, id);
      throw error;
    }
    return new EnginePermit(decision, {
      leave: () => this.#leave(key, id),
      leaveQuietly: () => this.#leaveQuietly(key, id),
      renew: async () => (await this.#engine.enter(key, this.#rule, id)).allowed,
    });
  }

  async #leave(key: string, id: string): Promise<void> {
    await this.#engine.leave(key, this.#rule, id);
    this.#sleepers.get(key)?.abort();
  }

  async #leaveQuietly(key: string, id: string): Promise<void> {
    try {
      await this.#leave(key, id);
    } catch (error) {
      const fields = { limiter: this.name, error: error instanceof Error ? error.message : String(error) };
      this.#world.log.log("warn", "a permit could not be given back; it ends by itself", fields);
    }
  }

  /** Not all processes at the same instants. */
  #nextPollMs(): number {
    return Math.max(1, this.#pollMs * (0.5 + this.#world.random.float() / 2));
  }

  async #sleep(key: string, ms: number, signal: AbortSignal | undefined): Promise<void> {
    const wake = new AbortController();
    this.#sleepers.set(key, wake);
    try {
      const ends = signal === undefined ? wake.signal : AbortSignal.any([wake.signal, signal]);
      await this.#world.timers.sleep(ms, { signal: ends });
    } catch (error) {
      signal?.throwIfAborted();
      if (!wake.signal.aborted) throw error;
    } finally {
      this.#sleepers.delete(key);
    }
  }
}

interface PermitActions {
  leave(): Promise<void>;
  leaveQuietly(): Promise<void>;
  renew(): Promise<boolean>;
}

class EnginePermit implements Permit {
  readonly allowed: boolean;
  readonly retryAfterMs: number;
  readonly remaining: number;
  readonly delayMs = 0;
  readonly #actions: PermitActions;
  #over: boolean;

  constructor({ allowed, retryAfterMs, remaining }: RateDecision, actions: PermitActions) {
    this.allowed = allowed;
    this.retryAfterMs = retryAfterMs;
    this.remaining = remaining;
    this.#actions = actions;
    this.#over = !allowed;
  }

  async release(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    try {
      await this.#actions.leave();
    } catch (error) {
      this.#over = false;
      throw error;
    }
  }

  async renew(): Promise<boolean> {
    return !this.#over && (await this.#actions.renew());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#actions.leaveQuietly();
  }
}
