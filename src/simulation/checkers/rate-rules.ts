import type { ConcurrencyRule, RateRule } from "../../contracts/rates.ts";
import { Violation } from "../system.ts";
import { type ClockReadings, rightClock } from "./clock-record.ts";
import { ms } from "./instants.ts";
import { checkPermits } from "./permit-rules.ts";
import type { RateInput, RateOperation } from "./rate-history.ts";
import { checkFixedWindow, checkRefusals, type Spans, type Stretch, Taken } from "./rate-spans.ts";

export interface RateRules {
  /** What the engine's clock showed; the virtual time itself when left out. */
  readonly clock?: ClockReadings | undefined;
}

/**
 * Holds decisions about rates against their rules, and throws a `Violation` for what does not fit. Decisions of one key and one rule are looked at together; where the key is reset, only those after it.
 *
 * Never more is allowed than the rule says: a fixed window's limit within one window, and that again for each edge, which a clock that is set back passes anew; a sliding window's and a log's limit in any `windowMs`; a token bucket's
 * burst and what came back since; a leaky bucket's queue and what has left it, and those that leave it leave it evenly; a number of permits at a time. And nothing is refused for which there was room for sure.
 *
 * Time is the engine's clock: setting it ahead frees what its figures say; setting it back counts as standing still. Each decision was taken at some instant between its call and its
 * return. One that nobody knows of is no proof that too much was allowed, but may be why something was refused.
 */
export function checkRates(operations: readonly RateOperation[], { clock = rightClock }: RateRules = {}): void {
  for (const group of groupsOf(operations)) {
    const { rule } = group[0]!.input;
    if (rule.type === "concurrency") checkPermits(group as readonly RateOperation[], rule, clock);
    else checkDecisions(group, rule, clock);
  }
}

function checkDecisions(operations: readonly RateOperation[], rule: RateRule, clock: ClockReadings): void {
  const taken = new Taken(operations, clock);
  checkBound(taken, rule, clock);
  if (rule.type === "fixedWindow") checkFixedWindow(taken, rule, clock);
  if (rule.type === "leakyBucket") checkRelease(taken, rule);
  checkRefusals(taken, rule, clock);
}

/** In no stretch of time more than the rule's bound. */
function checkBound(taken: Taken, rule: RateRule, clock: ClockReadings): void {
  const breach = taken.allowed.mostOver((stretch) => boundOf(rule, stretch, clock));
  if (breach === undefined) return;
  const { units, first, last, lengthMs, bound } = breach;
  throw new Violation(
    `${units} units of ${JSON.stringify(first.input.key)} were allowed between ${ms(first.calledAt)} and ${ms(last.returnedAt!)}, which is at most ${ms(lengthMs)} by the engine's clock, where ${tellRule(rule)} allows ${Math.floor(bound)}`,
  );
}

/** What the rule allows in a stretch of time. */
function boundOf(rule: RateRule, { lengthMs, calledAt, returnedAt }: Stretch, clock: ClockReadings): number {
  switch (rule.type) {
    case "fixedWindow":
      if (lengthMs >= rule.windowMs) return Number.POSITIVE_INFINITY;
      // Set back over the edge of a window, the clock passes that edge anew, and there a window begins as any other does.
      return rule.limit * (2 + clock.setBacks(calledAt, returnedAt));
    case "slidingWindow":
    case "slidingLog":
      return lengthMs >= rule.windowMs ? Number.POSITIVE_INFINITY : rule.limit;
    case "leakyBucket":
      return rule.queueMax + 1 + (rule.ratePerSecond * lengthMs) / 1_000;
    case "tokenBucket":
      return rule.burst + (rule.ratePerSecond * lengthMs) / 1_000;
  }
}

/** What leaves a leaky bucket leaves it evenly: a request goes on when its last unit leaves, so of each stretch the units of one request had left before it. */
function checkRelease(taken: Taken, rule: Extract<RateRule, { type: "leakyBucket" }>): void {
  const released: Spans = taken.released;
  const breach = released.mostOver(({ lengthMs, largest }) => largest + (rule.ratePerSecond * lengthMs) / 1_000);
  if (breach === undefined) return;
  const { units, first, last, lengthMs } = breach;
  throw new Violation(
    `${units} units of ${JSON.stringify(first.input.key)} leave their queue within ${ms(lengthMs)} by the engine's clock, as was decided between ${ms(first.calledAt)} and ${ms(last.returnedAt!)}, which is faster than ${tellRule(rule)} allows`,
  );
}

/** Decisions of one key under one rule; of several resets, after the last. */
function groupsOf(operations: readonly RateOperation[]): readonly (readonly RateOperation[])[] {
  const groups = new Map<string, RateOperation[]>();
  for (const operation of operations.toSorted((a, b) => a.called - b.called)) {
    const name = groupOf(operation.input);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [operation]);
    else group.push(operation);
  }
  return [...groups.values()].map(afterReset).filter((group) => group.length > 0);
}

function groupOf({ key, rule }: RateInput): string {
  return JSON.stringify([key, Object.entries(rule).sort()]);
}

function afterReset(group: readonly RateOperation[]): readonly RateOperation[] {
  let after = -1;
  for (const { input, returned } of group) if (input.type === "reset") after = Math.max(after, returned ?? Infinity);
  return group.filter(({ input, called }) => input.type !== "reset" && called > after);
}

export function tellRule(rule: RateRule | ConcurrencyRule): string {
  const { type, ...figures } = rule;
  const told = Object.entries(figures).map(([name, figure]) => `${name} ${figure}`);
  return `${type} (${told.join(", ")})`;
}
