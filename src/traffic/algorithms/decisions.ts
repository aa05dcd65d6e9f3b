import type { RateDecision } from "../../contracts/rates.ts";

export function allowed(remaining: number, delayMs = 0): RateDecision {
  return { allowed: true, retryAfterMs: 0, remaining, delayMs };
}

export function refused(remaining: number, retryAfterMs: number): RateDecision {
  return { allowed: false, retryAfterMs, remaining, delayMs: 0 };
}
