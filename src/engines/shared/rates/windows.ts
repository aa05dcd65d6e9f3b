import type { RateRule } from "../../../contracts/rates.ts";
import { allowed, type RateOutcome, type RateState, refused } from "./outcomes.ts";

type FixedWindowRule = Extract<RateRule, { type: "fixedWindow" }>;
type SlidingWindowRule = Extract<RateRule, { type: "slidingWindow" }>;

/** State: the instant of the last change, the units used in its window. */
export function decideFixedWindow(
  rule: FixedWindowRule,
  state: readonly number[] | undefined,
  now: number,
  count: number,
): RateOutcome {
  const { limit, windowMs } = rule;
  const start = Math.floor(now / windowMs) * windowMs;
  const endsAt = start + windowMs;
  const [at = now, before = 0] = state ?? [];
  // An instant that is still to come was written before the clock was set back; it counts as now.
  const used = at >= start ? before : 0;
  const fits = used + count <= limit;
  const after = fits || rule.countRefusals === true ? Math.min(limit, used + count) : used;
  const next: RateState = { numbers: [now, after], endsAt };
  if (fits) return { decision: allowed(limit - after), next };
  return { decision: refused(limit - after, endsAt - now), next: after !== used || at > now ? next : undefined };
}

/**
 * State: pairs of a part's number and the units taken in it, ascending. The window reaches into the oldest part as long as that
 * lies within it at all, so `cells` parts and the current one are counted.
 */
export function decideSlidingWindow(
  rule: SlidingWindowRule,
  state: readonly number[] | undefined,
  now: number,
  count: number,
): RateOutcome {
  const { limit, windowMs, cells } = rule;
  // Both factors are whole, so that no part's edge is moved by rounding.
  const current = Math.floor((now * cells) / windowMs);
  const parts: number[] = [];
  let used = 0;
  for (let index = 0; index < (state?.length ?? 0); index += 2) {
    // A part that is still to come was counted before the clock was set back; it counts as the current one.
    const part = Math.min(current, state![index]!);
    if (part < current - cells) continue;
    used += state![index + 1]!;
    addTo(parts, part, state![index + 1]!);
  }
  const setBack = state !== undefined && state.length > 0 && state.at(-2)! > current;
  const fits = used + count <= limit;
  const counts = fits || rule.countRefusals === true;
  if (counts) addTo(parts, current, count);
  const endsAt = partEnd(parts.at(-2) ?? current, rule);
  const next: RateState = { numbers: parts, endsAt };
  if (fits) return { decision: allowed(limit - used - count), next };
  const total = counts ? used + count : used;
  const freeAt = whenFree(parts, limit - count, rule);
  return { decision: refused(limit - total, freeAt - now), next: counts || setBack ? next : undefined };
}

function addTo(parts: number[], part: number, units: number): void {
  if (parts.at(-2) === part) parts[parts.length - 1]! += units;
  else parts.push(part, units);
}

/** The first instant at which at most `most` units are counted. */
function whenFree(parts: readonly number[], most: number, rule: SlidingWindowRule): number {
  let counted = 0;
  for (let index = parts.length - 2; index >= 0; index -= 2) {
    counted += parts[index + 1]!;
    if (counted > most) return partEnd(parts[index]!, rule);
  }
  return 0;
}

/** The first whole millisecond at which the part is not counted any more. */
function partEnd(part: number, { windowMs, cells }: SlidingWindowRule): number {
  return Math.ceil(((part + cells + 1) * windowMs) / cells);
}
