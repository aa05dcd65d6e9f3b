import { TenonError } from "../contracts/errors.ts";
import type { ConcurrencyRule, RateRule } from "../contracts/rates.ts";

/** The largest `limit` of a local sliding log: each of its units is remembered. */
export const logLimitMax = 1_000_000;

/** Refuses a rule whose figures make no sense, before anything is decided by it. */
export function checkRateRule(rule: RateRule): void {
  switch (rule.type) {
    case "fixedWindow":
      checkWindow(rule);
      return;
    case "slidingWindow":
      checkWindow(rule);
      if (isWhole(rule.cells, 2, 1_000)) return;
      throw wrong(rule.type, "cells", rule.cells, "a whole number from 2 to 1,000");
    case "slidingLog":
      checkWindow(rule);
      if (rule.limit <= logLimitMax) return;
      throw wrong(rule.type, "limit", rule.limit, `at most ${logLimitMax}, as each unit is remembered`);
    case "leakyBucket":
      checkRate(rule);
      if (isWhole(rule.queueMax, 0)) return;
      throw wrong(rule.type, "queueMax", rule.queueMax, "a whole number of at least 0");
    case "tokenBucket":
      checkRate(rule);
      if (rule.burst >= 1 && rule.burst <= Number.MAX_SAFE_INTEGER) return;
      throw wrong(rule.type, "burst", rule.burst, "a finite number of at least 1");
    default:
      throw new TenonError(
        "invalid",
        `There is no limiter of type "${(rule as { type: unknown }).type}". Give fixedWindow, slidingWindow, slidingLog, leakyBucket or tokenBucket.`,
      );
  }
}

export function checkConcurrencyRule({ type, limit, holdMs }: ConcurrencyRule): void {
  if (type !== "concurrency") {
    throw new TenonError("invalid", `A concurrency limiter's type is "${type as unknown}". Give "concurrency".`);
  }
  if (!isWhole(limit, 1)) throw wrong(type, "limit", limit, "a whole number of at least 1");
  if (!isWhole(holdMs, 1)) throw wrong(type, "holdMs", holdMs, "whole milliseconds of at least 1");
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
  if (count > 0 && count <= countMax && (fractions || Number.isInteger(count))) return;
  throw new TenonError(
    "invalid",
    `${count} units can never be taken from this ${type} limiter. Take ${fractions ? "more than 0" : "a whole number from 1"} and at most ${countMax}, or change the rule.`,
    { fields: { type, count, countMax } },
  );
}

function checkWindow(rule: { readonly type: string; readonly limit: number; readonly windowMs: number }): void {
  if (!isWhole(rule.limit, 1)) throw wrong(rule.type, "limit", rule.limit, "a whole number of at least 1");
  if (!isWhole(rule.windowMs, 1)) throw wrong(rule.type, "windowMs", rule.windowMs, "whole milliseconds of at least 1");
}

function checkRate({ type, ratePerSecond }: { readonly type: string; readonly ratePerSecond: number }): void {
  if (ratePerSecond > 0 && ratePerSecond < Number.POSITIVE_INFINITY) return;
  throw wrong(type, "ratePerSecond", ratePerSecond, "a finite number above 0");
}

function isWhole(value: number, min: number, max = Number.MAX_SAFE_INTEGER): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max;
}

function wrong(type: string, name: string, value: number, wanted: string): TenonError {
  return new TenonError("invalid", `The ${name} of a ${type} limiter is ${value}. Give ${wanted}.`, {
    fields: { type, [name]: value },
  });
}
