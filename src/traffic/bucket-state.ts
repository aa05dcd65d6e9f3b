import { TenonError } from "../contracts/errors.ts";

export interface BucketOptions {
  /** How many tokens come back per second; any number above 0. */
  readonly ratePerSecond: number;
  /** How many tokens it holds; at least 1. */
  readonly burst: number;
}

/** What became of a request for tokens. */
export interface Decision {
  readonly allowed: boolean;
  /** 0 when allowed; else after how many whole milliseconds the same request succeeds if nobody else comes. */
  readonly retryAfterMs: number;
  /** Whole tokens that are left. */
  readonly remaining: number;
}

export interface BucketLimits {
  readonly perMs: number;
  readonly burst: number;
}

/** The tokens at an instant of the monotonic clock. Written only when tokens are taken, so that rounding cannot add up on refusals. */
export interface BucketState {
  tokens: number;
  at: number;
}

export function bucketLimits({ ratePerSecond, burst }: BucketOptions): BucketLimits {
  if (!(ratePerSecond > 0 && ratePerSecond < Number.POSITIVE_INFINITY)) {
    throw new TenonError(
      "invalid",
      `A token bucket's ratePerSecond is ${ratePerSecond}. Give a finite number above 0.`,
      { fields: { ratePerSecond } },
    );
  }
  if (!(burst >= 1 && burst <= Number.MAX_SAFE_INTEGER)) {
    throw new TenonError("invalid", `A token bucket's burst is ${burst}. Give a finite number of at least 1.`, {
      fields: { burst },
    });
  }
  return { perMs: ratePerSecond / 1_000, burst };
}

/**
 * So much may be missing, lest rounding refuse what has just come back. It is taken all the same and leaves the bucket that
 * far below zero, so it never adds up.
 */
const tolerance = 1e-9;

/** Takes the tokens if they are there. */
export function decide(state: BucketState, limits: BucketLimits, now: number, count: number): Decision {
  const tokens = tokensAt(state, limits, now);
  if (tokens < count - tolerance) {
    return { allowed: false, retryAfterMs: wholeMs(count - tokens, limits), remaining: whole(tokens) };
  }
  state.tokens = tokens - count;
  state.at = now;
  return { allowed: true, retryAfterMs: 0, remaining: whole(state.tokens) };
}

/** After how many milliseconds `count` tokens, which may exceed the burst, will have come back since `now`. */
export function millisecondsUntil(state: BucketState, limits: BucketLimits, now: number, count: number): number {
  return wholeMs(count - tokensAt(state, limits, now), limits);
}

function tokensAt(state: BucketState, limits: BucketLimits, now: number): number {
  return Math.min(limits.burst, state.tokens + (now - state.at) * limits.perMs);
}

function wholeMs(missing: number, limits: BucketLimits): number {
  return Math.max(1, Math.ceil((missing - tolerance / 2) / limits.perMs));
}

function whole(tokens: number): number {
  return Math.max(0, Math.floor(tokens + tolerance));
}
