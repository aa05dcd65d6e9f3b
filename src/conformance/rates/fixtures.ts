import { equal } from "node:assert/strict";
import type { ConcurrencyRule, RateDecision, RateRule } from "../../contracts/index.ts";
import type { RateSubject, RatesEngine } from "../conformance-case.ts";

/** A window that begins at the epoch's start or so and does not end during any case. */
export const endlessMs = 10 ** 12;

export const types = ["fixedWindow", "slidingWindow", "slidingLog", "leakyBucket", "tokenBucket"] as const;
export type RateType = (typeof types)[number];

/** Five units of each rule, which come back within about `windowMs`. */
export function five(type: RateType, windowMs: number): RateRule {
  return units(type, 5, windowMs);
}

/** So many units of each rule, which come back within about `windowMs`. */
export function units(type: RateType, count: number, windowMs: number): RateRule {
  const ratePerSecond = (count * 1_000) / windowMs;
  switch (type) {
    case "fixedWindow":
    case "slidingLog":
      return { type, limit: count, windowMs };
    case "slidingWindow":
      return { type, limit: count, windowMs, cells: 10 };
    case "leakyBucket":
      return { type, ratePerSecond, queueMax: count - 1 };
    case "tokenBucket":
      return { type, ratePerSecond, burst: count };
  }
}

export function permits(limit: number, holdMs = 600_000): ConcurrencyRule {
  return { type: "concurrency", limit, holdMs };
}

export async function allowed(engine: RatesEngine, key: string, rule: RateRule, count = 1): Promise<RateDecision> {
  const decision = await engine.rates.decide(key, rule, count);
  equal(decision.allowed, true, `${count} units of ${key} are to be allowed (${rule.type})`);
  equal(decision.retryAfterMs, 0);
  return decision;
}

export async function declined(engine: RatesEngine, key: string, rule: RateRule, count = 1): Promise<RateDecision> {
  const decision = await engine.rates.decide(key, rule, count);
  equal(decision.allowed, false, `${count} units of ${key} are to be refused (${rule.type})`);
  equal(decision.delayMs, 0);
  return decision;
}

export function needsCrash(subject: RateSubject): true | string {
  return subject.crash === undefined ? "the host cannot crash this engine, or nothing of it would survive" : true;
}
