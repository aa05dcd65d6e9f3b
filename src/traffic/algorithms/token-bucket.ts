import type { RateDecision, RateRule } from "../../contracts/rates.ts";
import type { Algorithm } from "./algorithm.ts";
import { allowed, refused } from "./decisions.ts";

/** The tokens at an instant. Written only when tokens are taken, so that rounding cannot add up on refusals. */
interface TokensState {
  tokens: number;
  at: number;
}

/**
 * So much may be missing, lest rounding refuse what has just come back. It is taken all the same and leaves the bucket that
 * far below zero, so it never adds up.
 */
const tolerance = 1e-9;

export class TokenBucket implements Algorithm<TokensState> {
  readonly #perMs: number;
  readonly #burst: number;

  constructor({ ratePerSecond, burst }: Extract<RateRule, { type: "tokenBucket" }>) {
    this.#perMs = ratePerSecond / 1_000;
    this.#burst = burst;
  }

  fresh(now: number): TokensState {
    return { tokens: this.#burst, at: now };
  }

  copy({ tokens, at }: TokensState): TokensState {
    return { tokens, at };
  }

  decide(state: TokensState, now: number, count: number): RateDecision {
    const tokens = this.#tokensAt(state, now);
    if (tokens < count - tolerance) return refused(whole(tokens), this.#wholeMs(count - tokens));
    state.tokens = tokens - count;
    state.at = now;
    return allowed(whole(state.tokens));
  }

  waitMs(state: TokensState, now: number, count: number): number {
    const tokens = this.#tokensAt(state, now);
    return tokens < count - tolerance ? this.#wholeMs(count - tokens) : 0;
  }

  #tokensAt(state: TokensState, now: number): number {
    return Math.min(this.#burst, state.tokens + (now - state.at) * this.#perMs);
  }

  #wholeMs(missing: number): number {
    return Math.max(1, Math.ceil((missing - tolerance / 2) / this.#perMs));
  }
}

function whole(tokens: number): number {
  return Math.max(0, Math.floor(tokens + tolerance));
}
