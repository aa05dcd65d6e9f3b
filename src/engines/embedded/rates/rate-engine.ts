import { checkConcurrency, checkKey, checkRule } from "../../../contracts/rate-rules.ts";
import type {
  ConcurrencyRule,
  RateCapabilities,
  RateDecision,
  RateEngine,
  RateRule,
} from "../../../contracts/rates.ts";
import { decideLeakyBucket, decideTokenBucket } from "../../shared/rates/buckets.ts";
import { decodeNumbers, encodeNumbers, type RateOutcome } from "../../shared/rates/outcomes.ts";
import { decideFixedWindow, decideSlidingWindow } from "../../shared/rates/windows.ts";
import type { Core } from "../core.ts";
import type { EntryStore } from "../key-values/entry-store.ts";
import type { Effect } from "../key-values/key-value-records.ts";
import type { Decided } from "./decided.ts";
import { Permits } from "./permits.ts";
import { decideSlidingLog, forgetSlidingLog, headKey } from "./sliding-log.ts";

type SlidingLogRule = Extract<RateRule, { type: "slidingLog" }>;
type CompactRule = Exclude<RateRule, SlidingLogRule>;

/** Before the key of an entry, so that rules of different types share nothing. */
const prefixes = { fixedWindow: "rf", slidingWindow: "rw", leakyBucket: "rl", tokenBucket: "rt" } as const;

/**
 * Rates on the journal. A decision is taken at once, in memory, and what it changed is written down in the same step; the answer waits
 * until that is durable. A refusal that changes nothing waits only for what was counted before it: else a crash could take back that a clock which was
 * set back had been noticed, and who was refused by it would be kept out anew. A state's entry ends by itself when its key is as good as unused.
 */
export class EmbeddedRates implements RateEngine {
  readonly capabilities: RateCapabilities;
  readonly #core: Core;
  readonly #states: EntryStore;
  readonly #permits: Permits;

  constructor(core: Core, states: EntryStore, survives: RateCapabilities["survives"]) {
    this.#core = core;
    this.#states = states;
    this.#permits = new Permits(states);
    this.capabilities = { survives, keyBytesMax: 1_024, logLimitMax: 10_000 };
  }

  async decide(key: string, rule: RateRule, count: number): Promise<RateDecision> {
    this.#core.throwIfClosed();
    checkKey("key", key, this.capabilities.keyBytesMax);
    checkRule(rule, count, this.capabilities);
    this.#core.throwIfFull("a rate decision");
    const now = this.#now();
    return this.#durably(
      rule.type === "slidingLog" ? this.#decideLog(key, rule, now, count) : this.#decideCompact(key, rule, now, count),
    );
  }

  async enter(key: string, rule: ConcurrencyRule, permit: string): Promise<RateDecision> {
    this.#checkPermit(key, rule, permit);
    this.#core.throwIfFull("entering");
    return this.#durably(this.#permits.enter(key, rule, permit, this.#now()));
  }

  async leave(key: string, rule: ConcurrencyRule, permit: string): Promise<void> {
    this.#checkPermit(key, rule, permit);
    this.#commit(this.#permits.leave(key, permit));
    await this.#core.journal.durable();
  }

  async reset(key: string, rule: RateRule | ConcurrencyRule): Promise<void> {
    this.#core.throwIfClosed();
    checkKey("key", key, this.capabilities.keyBytesMax);
    if (rule?.type === "concurrency") {
      checkConcurrency(rule, this.capabilities);
      this.#commit(this.#permits.reset(key));
    } else {
      checkRule(rule, 1, this.capabilities);
      if (rule.type === "slidingLog") this.#commit(forgetSlidingLog(this.#states, key));
      else if (this.#states.get(prefixes[rule.type] + key) !== undefined) {
        this.#commit([{ type: "delete", key: prefixes[rule.type] + key }]);
      }
    }
    await this.#core.journal.durable();
  }

  /** Everything is replayed. */
  start(): void {
    this.#permits.start();
  }

  /** An entry was deleted, or forgotten as its time has passed. */
  removed(entryKey: string): void {
    this.#permits.removed(entryKey);
  }

  #now(): number {
    return Math.floor(this.#core.world.clock.now());
  }

  #checkPermit(key: string, rule: ConcurrencyRule, permit: string): void {
    this.#core.throwIfClosed();
    checkKey("key", key, this.capabilities.keyBytesMax);
    checkKey("permit", permit, this.capabilities.keyBytesMax);
    checkConcurrency(rule, this.capabilities);
  }

  #decideLog(key: string, rule: SlidingLogRule, now: number, count: number): Decided {
    const { decision, effects } = decideSlidingLog(rule, this.#states, key, now, count);
    this.#commit(effects);
    return { decision, batch: this.#states.get(headKey(key))?.batch ?? 0 };
  }

  #decideCompact(key: string, rule: CompactRule, now: number, count: number): Decided {
    const entryKey = prefixes[rule.type] + key;
    const entry = this.#states.get(entryKey);
    const state = entry === undefined || entry.expiresAt <= now ? undefined : decodeNumbers(entry.value!);
    const { decision, next } = outcomeOf(rule, state, now, count);
    if (next === undefined) return { decision, batch: entry?.batch ?? 0 };
    this.#commit([{ type: "put", key: entryKey, value: encodeNumbers(next.numbers), expiresAt: next.endsAt }]);
    return { decision, batch: this.#states.batch };
  }

  #commit(effects: readonly Effect[]): void {
    if (effects.length > 0) this.#states.commit(effects);
  }

  async #durably({ decision, batch }: Decided): Promise<RateDecision> {
    const { journal } = this.#core;
    if (batch > journal.durableBatch) await journal.durable();
    return decision;
  }
}

function outcomeOf(rule: CompactRule, state: readonly number[] | undefined, now: number, count: number): RateOutcome {
  switch (rule.type) {
    case "fixedWindow":
      return decideFixedWindow(rule, state, now, count);
    case "slidingWindow":
      return decideSlidingWindow(rule, state, now, count);
    case "leakyBucket":
      return decideLeakyBucket(rule, state, now, count);
    case "tokenBucket":
      return decideTokenBucket(rule, state, now, count);
  }
}
