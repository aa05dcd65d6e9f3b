import type { RateRule } from "../../contracts/rates.ts";
import { Violation } from "../system.ts";
import type { ClockReadings } from "./clock-record.ts";
import { ms } from "./instants.ts";
import type { RateInput, RateOperation } from "./rate-history.ts";

/** What rounding may add up to. */
const tolerance = 1e-3;

export type Decision = RateOperation & { readonly input: Extract<RateInput, { readonly type: "decide" }> };

/** Some units, and between which instants of the engine's time they were taken, or leave. */
interface Span {
  readonly operation: Decision;
  readonly units: number;
  readonly fromMs: number;
  readonly untilMs: number;
}

export interface Breach {
  readonly units: number;
  readonly first: Decision;
  readonly last: Decision;
  readonly lengthMs: number;
  readonly bound: number;
}

/** What lies between the first and the last of some decisions. */
export interface Stretch {
  readonly lengthMs: number;
  /** The most units that one of them took. */
  readonly largest: number;
  /** When the first was asked for, and the last answered, in virtual ms. */
  readonly calledAt: number;
  readonly returnedAt: number;
}

/** Units in the engine's time. Whatever lies wholly in a stretch of it happened there, so that nobody is accused wrongly. */
export class Spans {
  readonly #byEnd: readonly Span[];

  constructor(spans: readonly Span[]) {
    this.#byEnd = spans.toSorted((a, b) => a.untilMs - b.untilMs);
  }

  /** The first stretch that holds more than its bound. */
  mostOver(boundOf: (stretch: Stretch) => number): Breach | undefined {
    for (const first of this.#byEnd) {
      let units = 0;
      let largest = 0;
      let { calledAt } = first.operation;
      let returnedAt = calledAt;
      for (const last of this.#byEnd) {
        if (last.fromMs < first.fromMs) continue;
        units += last.units;
        largest = Math.max(largest, last.units);
        calledAt = Math.min(calledAt, last.operation.calledAt);
        returnedAt = Math.max(returnedAt, last.operation.returnedAt!);
        const lengthMs = last.untilMs - first.fromMs;
        const bound = boundOf({ lengthMs, largest, calledAt, returnedAt });
        if (bound === Number.POSITIVE_INFINITY) break;
        if (units > bound + tolerance) return { units, first: first.operation, last: last.operation, lengthMs, bound };
      }
    }
    return undefined;
  }
}

/** The decisions of one key under one rule, in the engine's time: that of its clock, but that setting it back counts as standing still. */
export class Taken {
  readonly allowed: Spans;
  readonly released: Spans;
  readonly spans: readonly Span[];

  constructor(operations: readonly RateOperation[], clock: ClockReadings) {
    const startMs = operations[0]!.calledAt;
    this.spans = (operations as readonly Decision[]).map((operation) => ({
      operation,
      units: operation.input.count,
      fromMs: clock.advanced(startMs, operation.calledAt).min,
      untilMs:
        operation.returnedAt === undefined
          ? Number.POSITIVE_INFINITY
          : clock.advanced(startMs, operation.returnedAt).max,
    }));
    const allowed = this.spans.filter(({ operation }) => operation.output?.decision?.allowed);
    this.allowed = new Spans(allowed);
    this.released = new Spans(
      allowed.map((span) => {
        const { delayMs } = span.operation.output!.decision!;
        return { ...span, fromMs: span.fromMs + delayMs, untilMs: span.untilMs + delayMs };
      }),
    );
  }

  /**
   * What may have been counted when the refusal was decided. What was counted before the clock was set back counts as taken when the engine noticed: with the first
   * decision after that.
   */
  countedBefore(refused: Span, countsRefusals: boolean, clock: ClockReadings): readonly Span[] {
    const { returnedAt } = refused.operation;
    const noticed = this.spans.find(
      ({ operation }) =>
        operation.returned !== undefined &&
        clock.setBacks(operation.calledAt, Math.max(operation.calledAt, returnedAt!)) === 0,
    );
    const counted = this.spans.filter(
      ({ operation }) =>
        operation !== refused.operation &&
        (countsRefusals || operation.output?.decision?.allowed !== false) &&
        operation.called < refused.operation.returned!,
    );
    return counted.map((span) =>
      clock.setBacks(span.operation.calledAt, returnedAt!) === 0
        ? span
        : { ...span, untilMs: Math.max(span.untilMs, noticed?.untilMs ?? Number.POSITIVE_INFINITY) },
    );
  }

  get refused(): readonly Span[] {
    return this.spans.filter(({ operation }) => operation.output?.decision?.allowed === false);
  }
}

type FixedWindowRule = Extract<RateRule, { type: "fixedWindow" }>;

/** Decisions that surely fell into one window of the clock, which was not set back meanwhile. */
export function checkFixedWindow(taken: Taken, { limit, windowMs }: FixedWindowRule, clock: ClockReadings): void {
  const windows = new Map<number, { units: number; readonly first: Decision }>();
  for (const { operation, units } of taken.spans) {
    if (!operation.output?.decision?.allowed) continue;
    const [earliest, latest] = windowsOf(operation, windowMs, clock);
    if (earliest !== latest) continue;
    const window = windows.get(earliest);
    if (window === undefined || clock.setBacks(window.first.calledAt, operation.returnedAt!) > 0) {
      windows.set(earliest, { units, first: operation });
      continue;
    }
    window.units += units;
    if (window.units <= limit) continue;
    throw new Violation(
      `${window.units} units of ${JSON.stringify(operation.input.key)} were allowed between ${ms(window.first.calledAt)} and ${ms(operation.returnedAt!)}, all in the window that began at ${earliest * windowMs} by the engine's clock, where ${limit} are allowed`,
    );
  }
}

/** The first and the last window in which the decision can have been taken. */
function windowsOf(operation: Decision, windowMs: number, clock: ClockReadings): readonly [number, number] {
  const { min, max } = clock.between(operation.calledAt, operation.returnedAt ?? Number.POSITIVE_INFINITY);
  return [Math.floor(min / windowMs), Math.floor(max / windowMs)];
}

/** Nothing is refused where even the most that may have been counted left room for it. */
export function checkRefusals(taken: Taken, rule: RateRule, clock: ClockReadings): void {
  const countsRefusals = "countRefusals" in rule && rule.countRefusals === true;
  for (const refused of taken.refused) {
    const left = roomFor(refused, taken.countedBefore(refused, countsRefusals, clock), rule, clock);
    if (left < refused.units) continue;
    const { client, input, calledAt, returnedAt } = refused.operation;
    throw new Violation(
      `${refused.units} units of ${JSON.stringify(input.key)} were refused to ${client} between ${ms(calledAt)} and ${ms(returnedAt!)}, although at least ${left} were left`,
    );
  }
}

/** How much was left at least. */
function roomFor(refused: Span, before: readonly Span[], rule: RateRule, clock: ClockReadings): number {
  const sinceMs = ({ untilMs }: Span) => refused.fromMs - untilMs;
  switch (rule.type) {
    case "tokenBucket":
    case "leakyBucket":
      return roomInBucket(
        before,
        sinceMs,
        rule.type === "tokenBucket" ? rule.burst : rule.queueMax + 1,
        rule.ratePerSecond,
      );
    case "slidingLog":
      return rule.limit - unitsOf(before.filter((each) => sinceMs(each) < rule.windowMs));
    case "slidingWindow":
      return rule.limit - unitsOf(before.filter((each) => sinceMs(each) < rule.windowMs * (1 + 1 / rule.cells)));
    case "fixedWindow": {
      const [, latest] = windowsOf(refused.operation, rule.windowMs, clock);
      const [first] = windowsOf(refused.operation, rule.windowMs, clock);
      const counts = ({ operation }: Span) => {
        const { calledAt, returnedAt } = refused.operation;
        const [from, until] = windowsOf(operation, rule.windowMs, clock);
        return (
          (from <= latest && until >= first) || clock.setBacks(Math.min(calledAt, operation.calledAt), returnedAt!) > 0
        );
      };
      return rule.limit - unitsOf(before.filter(counts));
    }
  }
}

function roomInBucket(
  before: readonly Span[],
  sinceMs: (span: Span) => number,
  full: number,
  ratePerSecond: number,
): number {
  let least = full;
  for (const first of before) {
    const taken = unitsOf(before.filter(({ untilMs }) => untilMs >= first.untilMs));
    least = Math.min(least, full - taken + (ratePerSecond * Math.max(0, sinceMs(first))) / 1_000);
  }
  return least - tolerance;
}

function unitsOf(spans: readonly Span[]): number {
  return spans.reduce((sum, { units }) => sum + units, 0);
}
