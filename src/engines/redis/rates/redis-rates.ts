import type { TenonError } from "../../../contracts/errors.ts";
import { checkConcurrency, checkKey, checkRule } from "../../../contracts/rate-rules.ts";
import type {
  ConcurrencyRule,
  RateCapabilities,
  RateDecision,
  RateEngine,
  RateRule,
} from "../../../contracts/rates.ts";
import type { Argument, Connection } from "../connection.ts";
import type { Script } from "../script.ts";
import { DecisionBatches, decisionOf, type RuleScript } from "./decision-batches.ts";
import { enter, fixedWindow, leakyBucket, leave, slidingLog, slidingWindow, tokenBucket } from "./scripts.ts";

export interface RateSettings {
  /** Before every key, such as `tenon`. */
  readonly prefix: string;
  readonly survives: RateCapabilities["survives"];
}

type AnyRule = RateRule | ConcurrencyRule;

const scripts: Readonly<Record<RateRule["type"], Script>> = {
  fixedWindow,
  slidingWindow,
  slidingLog,
  leakyBucket,
  tokenBucket,
};

/** Rules of different types share nothing. Never change a letter: what was counted would be forgotten. */
const letters: Readonly<Record<AnyRule["type"], string>> = {
  fixedWindow: "f",
  slidingWindow: "w",
  slidingLog: "s",
  leakyBucket: "l",
  tokenBucket: "t",
  concurrency: "p",
};

/**
 * Rates on Redis: one round trip per decision, by the server's clock, and one script for those that are asked for at once. All that a key has lies under one key of Redis, so that a
 * cluster spreads keys over all of its slots; it ends by itself, which the same script sees to.
 */
export class RedisRates implements RateEngine {
  readonly capabilities: RateCapabilities;
  readonly #connection: Connection;
  readonly #prefix: string;
  readonly #decisions: DecisionBatches;
  #closed: TenonError | undefined;

  constructor(connection: Connection, { prefix, survives }: RateSettings) {
    this.#connection = connection;
    this.#prefix = `${prefix}:rate-`;
    this.#decisions = new DecisionBatches(connection, scriptOf);
    this.capabilities = { survives, keyBytesMax: 1_024, logLimitMax: 10_000 };
  }

  async decide(key: string, rule: RateRule, count: number): Promise<RateDecision> {
    this.#check(key);
    checkRule(rule, count, this.capabilities);
    return this.#decisions.decide(this.#keyOf(key, rule), rule, count);
  }

  async enter(key: string, rule: ConcurrencyRule, permit: string): Promise<RateDecision> {
    this.#checkPermit(key, rule, permit);
    const args = [permit, rule.limit, rule.holdMs];
    const reply = await this.#connection.run(enter, [this.#keyOf(key, rule)], args);
    return decisionOf(reply as readonly number[], 0, 3);
  }

  async leave(key: string, rule: ConcurrencyRule, permit: string): Promise<void> {
    this.#checkPermit(key, rule, permit);
    await this.#connection.run(leave, [this.#keyOf(key, rule)], [permit]);
  }

  async reset(key: string, rule: AnyRule): Promise<void> {
    this.#check(key);
    if (rule?.type === "concurrency") checkConcurrency(rule, this.capabilities);
    else checkRule(rule, 1, this.capabilities);
    const stored = this.#keyOf(key, rule);
    await this.#connection.command(stored, ["UNLINK", stored]);
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
  }

  #keyOf(key: string, { type }: AnyRule): string {
    return `${this.#prefix}${letters[type]}:${key}`;
  }

  #check(key: string): void {
    if (this.#closed !== undefined) throw this.#closed;
    checkKey("key", key, this.capabilities.keyBytesMax);
  }

  #checkPermit(key: string, rule: ConcurrencyRule, permit: string): void {
    this.#check(key);
    checkKey("permit", permit, this.capabilities.keyBytesMax);
    checkConcurrency(rule, this.capabilities);
  }
}

function scriptOf(rule: RateRule): RuleScript {
  return { script: scripts[rule.type], figures: figuresOf(rule), answerItems: rule.type === "leakyBucket" ? 4 : 3 };
}

/** In the order in which the rule's script lists them. */
function figuresOf(rule: RateRule): readonly Argument[] {
  switch (rule.type) {
    case "fixedWindow":
    case "slidingLog":
      return [rule.limit, rule.windowMs, rule.countRefusals === true ? "1" : ""];
    case "slidingWindow":
      return [rule.limit, rule.windowMs, rule.countRefusals === true ? "1" : "", rule.cells];
    case "leakyBucket":
      return [rule.ratePerSecond, rule.queueMax];
    case "tokenBucket":
      return [rule.ratePerSecond, rule.burst];
  }
}
