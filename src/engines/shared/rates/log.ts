import type { RateRule } from "../../../contracts/rates.ts";
import { allowed, type RateOutcome, type RateState, refused } from "./outcomes.ts";

/** State: pairs of an instant and the units taken at it, oldest first; all of it is one value. */
export function decideLog(
  rule: Extract<RateRule, { type: "slidingLog" }>,
  state: readonly number[] | undefined,
  now: number,
  count: number,
): RateOutcome {
  const { limit, windowMs } = rule;
  let pairs = [...(state ?? [])];
  // Instants that are still to come were written before the clock was set back; they count as now.
  const setBack = pairs.length > 0 && pairs.at(-2)! > now;
  if (setBack) pairs = [now, unitsOf(pairs)];
  let out = 0;
  while (out < pairs.length && now - pairs[out]! >= windowMs) out += 2;
  pairs.splice(0, out);
  let counted = unitsOf(pairs);
  const next = (): RateState => ({ numbers: pairs, endsAt: (pairs.at(-2) ?? now) + windowMs });
  if (counted + count <= limit) {
    add(pairs, now, count);
    return { decision: allowed(limit - counted - count), next: next() };
  }
  if (rule.countRefusals === true) {
    add(pairs, now, count);
    counted += count;
    // Whoever is beyond the limit stays there without the oldest, too.
    while (pairs.length > 2 && counted - pairs[1]! >= limit) {
      counted -= pairs[1]!;
      pairs.splice(0, 2);
    }
  }
  const decision = refused(limit - counted, freeAt(pairs, counted, limit - count) + windowMs - now);
  return { decision, next: setBack || rule.countRefusals === true ? next() : undefined };
}

function unitsOf(pairs: readonly number[]): number {
  let units = 0;
  for (let at = 1; at < pairs.length; at += 2) units += pairs[at]!;
  return units;
}

function add(pairs: number[], now: number, units: number): void {
  if (pairs.at(-2) === now) pairs[pairs.length - 1]! += units;
  else pairs.push(now, units);
}

/** The instant that has to be out until at most `most` units count. */
function freeAt(pairs: readonly number[], counted: number, most: number): number {
  let left = counted;
  for (let at = 0; at < pairs.length; at += 2) {
    left -= pairs[at + 1]!;
    if (left <= most) return pairs[at]!;
  }
  return Number.NEGATIVE_INFINITY;
}
