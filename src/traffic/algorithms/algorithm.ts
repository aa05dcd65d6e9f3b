import type { RateDecision, RateRule } from "../../contracts/rates.ts";
import { FixedWindow } from "./fixed-window.ts";
import { LeakyBucket } from "./leaky-bucket.ts";
import { SlidingLog } from "./sliding-log.ts";
import { SlidingWindow } from "./sliding-window.ts";
import { TokenBucket } from "./token-bucket.ts";

/**
 * The arithmetic of one rule, with nothing outside it: what a state becomes at an instant. A state is one key's, and is changed in place; its `now`
 * never goes back.
 */
export interface Algorithm<State> {
  /** A key's state before its first use. */
  fresh(now: number): State;
  copy(state: State): State;
  /** Takes the units if the rule allows. `count` is one that it may allow at some time. */
  decide(state: State, now: number, count: number): RateDecision;
  /** After how many whole milliseconds the units could be taken; 0: now. Takes and counts nothing. */
  waitMs(state: State, now: number, count: number): number;
}

/** The states belong to the algorithm that made them; nobody else looks inside. */
export type OpaqueState = { readonly opaque: never };

export function algorithmOf(rule: RateRule): Algorithm<OpaqueState> {
  return concreteAlgorithmOf(rule) as Algorithm<unknown> as Algorithm<OpaqueState>;
}

function concreteAlgorithmOf(rule: RateRule) {
  switch (rule.type) {
    case "fixedWindow":
      return new FixedWindow(rule);
    case "slidingWindow":
      return new SlidingWindow(rule);
    case "slidingLog":
      return new SlidingLog(rule);
    case "leakyBucket":
      return new LeakyBucket(rule);
    case "tokenBucket":
      return new TokenBucket(rule);
  }
}
