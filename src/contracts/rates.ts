/**
 * What an engine must do to carry rates: decisions about how often something may happen, atomic over all processes that ask, by the engine's clock.
 *
 * A decision reads and changes the state of one key in one step, and that state goes by itself when the key is as good as unused. Keys of
 * different types of rules share nothing. When a key's rule gets another `limit`, `queueMax` or `burst`, what was counted stays; with other figures it
 * may be forgotten. When the engine's clock is set back, what was counted stays for as long as if it had just happened. Every failure is a
 * `TenonError`; engines do not retry, and one that fails with `outcome: "unknown"` may have been counted.
 */
export interface RateEngine {
  readonly capabilities: RateCapabilities;

  /**
   * Takes `count` units of the key if the rule allows. A refusal takes nothing, unless the rule counts refusals.
   * `invalid` for a rule with figures that make no sense (limits, lengths in milliseconds, `cells` and `queueMax` are whole numbers), or a count that the
   * rule could never allow: it is a whole number of at least 1; of a token bucket, any number above 0.
   */
  decide(key: string, rule: RateRule, count: number): Promise<RateDecision>;

  /**
   * Asks for one of the key's permits under the name `permit`, unique for every attempt. Asking again under the same name is
   * allowed, takes no second one, and starts `holdMs` anew. A permit that is not given back ends after `holdMs`.
   */
  enter(key: string, rule: ConcurrencyRule, permit: string): Promise<RateDecision>;

  /** Gives a permit back. No error when it has ended. */
  leave(key: string, rule: ConcurrencyRule, permit: string): Promise<void>;

  /** Forgets what was counted under the rule's type and key. */
  reset(key: string, rule: RateRule | ConcurrencyRule): Promise<void>;
}

export interface RateCapabilities {
  /** What the count of an answered decision survives. */
  readonly survives: "nothing" | "process" | "machine" | "replicas";
  /** In bytes of UTF-8. */
  readonly keyBytesMax: number;
  /** The largest `limit` of a sliding log and of concurrency: each of its units is remembered. */
  readonly logLimitMax: number;
}

/**
 * A unit taken at `t` is counted up to `t + windowMs`, that instant excluded.
 *
 * `countRefusals`: a refused request counts like an allowed one, so that who keeps hammering stays out. Left out: it does not.
 */
export type RateRule =
  /**
   * At most `limit` in each window of `windowMs` since the epoch. Around an edge, twice that within one `windowMs`. Once more whenever the clock is
   * set back over an edge, as it then passes it anew.
   */
  | {
      readonly type: "fixedWindow";
      readonly limit: number;
      readonly windowMs: number;
      readonly countRefusals?: boolean | undefined;
    }
  /**
   * At most `limit` in the last `windowMs`, counted in `cells` parts of it. A whole part is counted until it lies outside, so it refuses up to one part too long and never
   * allows more than the limit.
   */
  | {
      readonly type: "slidingWindow";
      readonly limit: number;
      readonly windowMs: number;
      /** 2 to 1,000. */
      readonly cells: number;
      readonly countRefusals?: boolean | undefined;
    }
  /** At most `limit` in any `windowMs`, exactly: each unit's instant is remembered. */
  | {
      readonly type: "slidingLog";
      readonly limit: number;
      readonly windowMs: number;
      readonly countRefusals?: boolean | undefined;
    }
  /**
   * A queue that is left at `ratePerSecond`, evenly: `delayMs` says when. At most `queueMax` units wait, beside the one that may go on at once; more are
   * refused. A request of several units goes on when the last of them leaves.
   */
  | { readonly type: "leakyBucket"; readonly ratePerSecond: number; readonly queueMax: number }
  /** At most `burst` + `ratePerSecond` × t in any t seconds. A new key has the full burst. */
  | { readonly type: "tokenBucket"; readonly ratePerSecond: number; readonly burst: number };

/** At most `limit` permits at a time. */
export interface ConcurrencyRule {
  readonly type: "concurrency";
  readonly limit: number;
  readonly holdMs: number;
}

export interface RateDecision {
  readonly allowed: boolean;
  /**
   * 0 when allowed; else after how many whole milliseconds the same request succeeds if nobody else comes. For concurrency: after how many the
   * first permit ends by itself.
   */
  readonly retryAfterMs: number;
  /** Whole units that are left now. */
  readonly remaining: number;
  /** For a leaky bucket: how many milliseconds to wait before going on, 0 to start at once; 0 for every other rule. */
  readonly delayMs: number;
}
