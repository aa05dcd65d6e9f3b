import type { RateRule } from "../../../contracts/rates.ts";
import { allowed, type RateOutcome, refused } from "./outcomes.ts";

/** So much may be missing, lest rounding refuse what has just become free. It is taken all the same, so it never adds up. */
const tolerance = 1e-9;

/** State: an instant, the tokens at it. Written only when tokens are taken, so that rounding cannot add up on refusals. */
export function decideTokenBucket(
  rule: Extract<RateRule, { type: "tokenBucket" }>,
  state: readonly number[] | undefined,
  now: number,
  count: number,
): RateOutcome {
  const perMs = rule.ratePerSecond / 1_000;
  const [at = now, before = rule.burst] = state ?? [];
  // An instant that is still to come was written before the clock was set back; it counts as now.
  const tokens = Math.min(rule.burst, before + Math.max(0, now - at) * perMs);
  const full = (left: number) => now + Math.ceil((rule.burst - left) / perMs);
  if (tokens < count - tolerance) {
    const retryAfterMs = Math.ceil((count - tokens - tolerance / 2) / perMs);
    const next = at > now ? { numbers: [now, tokens], endsAt: full(tokens) } : undefined;
    return { decision: refused(whole(tokens), retryAfterMs), next };
  }
  const left = tokens - count;
  return { decision: allowed(whole(left)), next: { numbers: [now, left], endsAt: full(left) } };
}

/** State: an instant, how many units there were at it whose successor could not leave yet. */
export function decideLeakyBucket(
  rule: Extract<RateRule, { type: "leakyBucket" }>,
  state: readonly number[] | undefined,
  now: number,
  count: number,
): RateOutcome {
  const { queueMax } = rule;
  const perMs = rule.ratePerSecond / 1_000;
  const [at = now, before = 0] = state ?? [];
  const queued = Math.max(0, before - Math.max(0, now - at) * perMs);
  const empty = (units: number) => now + Math.ceil(units / perMs);
  const excess = queued + count - 1 - queueMax;
  if (excess > tolerance) {
    const retryAfterMs = Math.ceil((excess - tolerance / 2) / perMs);
    const next = at > now ? { numbers: [now, queued], endsAt: empty(queued) } : undefined;
    return { decision: refused(whole(queueMax + 1 - queued), retryAfterMs), next };
  }
  const after = queued + count;
  const decision = allowed(whole(queueMax + 1 - after), Math.max(0, (after - 1) / perMs));
  return { decision, next: { numbers: [now, after], endsAt: empty(after) } };
}

function whole(units: number): number {
  return Math.max(0, Math.floor(units + tolerance));
}
