import { TenonError } from "./errors.ts";
import type { ConcurrencyRule, RateCapabilities, RateRule } from "./rates.ts";

/** Refuses a rule whose figures make no sense, and a count that it could never allow. */
export function checkRule(rule: RateRule, count: number, { logLimitMax }: RateCapabilities): void {
  checkFigures(rule, logLimitMax);
  checkCount(countBoundsOf(rule), count);
}

/** Refuses a rule whose figures make no sense. */
export function checkFigures(rule: RateRule, logLimitMax: number): void {
  const type = rule?.type;
  switch (type) {
    case "fixedWindow":
      checkWindow(rule);
      break;
    case "slidingWindow":
      checkWindow(rule);
      checkWhole(type, "cells", rule.cells, 2, 1_000);
      break;
    case "slidingLog":
      checkWindow(rule);
      checkWhole(type, "limit", rule.limit, 1, logLimitMax);
      break;
    case "leakyBucket":
      checkRate(type, rule.ratePerSecond);
      checkWhole(type, "queueMax", rule.queueMax, 0);
      break;
    case "tokenBucket":
      checkRate(type, rule.ratePerSecond);
      if (!(Number.isFinite(rule.burst) && rule.burst >= 1 && rule.burst <= Number.MAX_SAFE_INTEGER)) {
        throw wrong(type, "burst", rule.burst, "a finite number of at least 1");
      }
      break;
    default:
      throw new TenonError(
        "invalid",
        `there is no rate rule of the type ${JSON.stringify(type)}; give fixedWindow, slidingWindow, slidingLog, leakyBucket or tokenBucket`,
      );
  }
}

/** How many units one request may ask for. */
export interface CountBounds {
  readonly type: RateRule["type"];
  readonly countMax: number;
  readonly fractions: boolean;
}

export function countBoundsOf(rule: RateRule): CountBounds {
  const { type } = rule;
  if (type === "tokenBucket") return { type, countMax: rule.burst, fractions: true };
  if (type === "leakyBucket") return { type, countMax: rule.queueMax + 1, fractions: false };
  return { type, countMax: rule.limit, fractions: false };
}

export function checkCount({ type, countMax, fractions }: CountBounds, count: number): void {
  if (count > 0 && count <= countMax && (fractions ? Number.isFinite(count) : Number.isInteger(count))) return;
  const wanted = `${fractions ? "more than 0" : "a whole number from 1"}, and at most ${countMax}`;
  throw new TenonError("invalid", `a ${type} rule can never allow ${count} units; ask for ${wanted}`, {
    fields: { type, countMax },
  });
}

export function checkConcurrency(rule: ConcurrencyRule, { logLimitMax }: Pick<RateCapabilities, "logLimitMax">): void {
  if (rule?.type !== "concurrency") {
    throw new TenonError("invalid", `permits need a rule of the type "concurrency", not ${JSON.stringify(rule?.type)}`);
  }
  checkWhole(rule.type, "limit", rule.limit, 1, logLimitMax);
  checkWhole(rule.type, "holdMs", rule.holdMs, 1);
}

/** Keys and permits: text that UTF-8 can give back, within its limit. */
export function checkKey(what: "key" | "permit", text: string, bytesMax: number): void {
  if (typeof text !== "string")
    throw new TenonError("invalid", `a ${what} must be a string, not of type ${typeof text}`);
  // A UTF-16 code unit takes at most three bytes, so most need no measuring.
  if (text === "" || (text.length * 3 > bytesMax && Buffer.byteLength(text) > bytesMax)) {
    throw new TenonError("invalid", `a ${what} of ${Buffer.byteLength(text)} bytes is not within 1 to ${bytesMax}`);
  }
  if (!text.isWellFormed()) throw new TenonError("invalid", `a ${what} is not well-formed Unicode; encode it first`);
}

function checkWindow({ type, limit, windowMs }: Extract<RateRule, { readonly windowMs: number }>): void {
  checkWhole(type, "limit", limit, 1);
  checkWhole(type, "windowMs", windowMs, 1);
}

function checkRate(type: string, ratePerSecond: number): void {
  if (Number.isFinite(ratePerSecond) && ratePerSecond > 0) return;
  throw wrong(type, "ratePerSecond", ratePerSecond, "a finite number above 0");
}

function checkWhole(type: string, figure: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw wrong(type, figure, value, `a whole number from ${min} to ${max}`);
}

function wrong(type: string, figure: string, value: number, wanted: string): TenonError {
  const shown = typeof value === "number" ? value : `of type ${typeof value}`;
  return new TenonError("invalid", `${figure} of a ${type} rule must be ${wanted}, not ${shown}`, { fields: { type } });
}
