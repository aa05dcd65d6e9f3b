import { equal } from "node:assert/strict";
import type { ConcurrencyRule, RateRule } from "../../contracts/index.ts";
import type { RateCase } from "../conformance-case.ts";
import { refused, within } from "../expectations.ts";
import { allowed, declined, endlessMs, five, needsCrash, permits, types } from "./fixtures.ts";

/** What a program without types may hand over. */
const digits = "5" as unknown as number;
const notWhole = [0, -1, 1.5, Number.NaN, Infinity, digits];

const wrongRules: readonly RateRule[] = [
  ...notWhole.flatMap((figure): RateRule[] => [
    { type: "fixedWindow", limit: figure, windowMs: 1_000 },
    { type: "fixedWindow", limit: 5, windowMs: figure },
    { type: "slidingWindow", limit: figure, windowMs: 1_000, cells: 10 },
    { type: "slidingWindow", limit: 5, windowMs: figure, cells: 10 },
    { type: "slidingWindow", limit: 5, windowMs: 1_000, cells: figure },
    { type: "slidingLog", limit: figure, windowMs: 1_000 },
    { type: "slidingLog", limit: 5, windowMs: figure },
  ]),
  { type: "slidingWindow", limit: 5, windowMs: 1_000, cells: 1 },
  { type: "slidingWindow", limit: 5, windowMs: 1_000, cells: 1_001 },
  ...[-1, 1.5, Number.NaN, Infinity, digits].map(
    (queueMax): RateRule => ({ type: "leakyBucket", ratePerSecond: 1, queueMax }),
  ),
  ...[0, -1, Number.NaN, Infinity, digits].flatMap((ratePerSecond): RateRule[] => [
    { type: "leakyBucket", ratePerSecond, queueMax: 5 },
    { type: "tokenBucket", ratePerSecond, burst: 5 },
  ]),
  ...[0, 0.5, -1, Number.NaN, Infinity, digits].map(
    (burst): RateRule => ({ type: "tokenBucket", ratePerSecond: 1, burst }),
  ),
  { type: "somethingElse" } as unknown as RateRule,
  permits(5) as unknown as RateRule,
];

export const limitCases: readonly RateCase[] = [
  {
    name: "rules with figures that make no sense are invalid",
    rule: "`invalid` for a rule with figures that make no sense.",
    async run({ engine }) {
      for (const rule of wrongRules) {
        await refused("invalid", JSON.stringify(rule), () => engine.rates.decide("key", rule, 1));
      }
      for (const figure of notWhole) {
        const wrong: readonly ConcurrencyRule[] = [permits(figure), permits(5, figure)];
        for (const rule of wrong) {
          await refused("invalid", JSON.stringify(rule), () => engine.rates.enter("key", rule, "a"));
        }
      }
      const other = five("fixedWindow", endlessMs) as unknown as ConcurrencyRule;
      await refused("invalid", "entering under a rate", () => engine.rates.enter("key", other, "a"));
    },
  },
  {
    name: "a count that the rule could never allow is invalid, and takes nothing",
    rule: "`invalid` for a count that the rule could never allow.",
    async run({ engine }) {
      for (const type of types) {
        const rule = five(type, endlessMs);
        const wrong = [0, -1, Number.NaN, Infinity, digits, 6, ...(type === "tokenBucket" ? [5.5] : [1.5])];
        for (const count of wrong) {
          await refused("invalid", `${count} of ${type}`, () => engine.rates.decide("key", rule, count));
        }
        equal((await allowed(engine, "key", rule, 5)).remaining, 0);
      }
    },
  },
  {
    name: "what is remembered unit by unit has a limit, which is taken, and beyond which all is invalid",
    rule: "`logLimitMax`: the largest `limit` of a sliding log and of concurrency.",
    async run({ engine }) {
      const { logLimitMax } = engine.rates.capabilities;
      const log = (limit: number) => ({ type: "slidingLog", limit, windowMs: 60_000 }) as const;
      await allowed(engine, "key", log(logLimitMax));
      await refused("invalid", "a longer log", () => engine.rates.decide("key", log(logLimitMax + 1), 1));
      equal((await engine.rates.enter("key", permits(logLimitMax), "a")).allowed, true);
      await refused("invalid", "more permits", () => engine.rates.enter("key", permits(logLimitMax + 1), "a"));
    },
  },
  {
    name: "a key of exactly keyBytesMax is counted, longer and empty ones are invalid",
    rule: "`keyBytesMax`: in bytes of UTF-8.",
    async run({ engine }) {
      const { keyBytesMax } = engine.rates.capabilities;
      const longest = "ä".repeat(Math.floor(keyBytesMax / 2)) + "a".repeat(keyBytesMax % 2);
      for (const type of types) {
        const rule = five(type, endlessMs);
        await allowed(engine, longest, rule, 5);
        await declined(engine, longest, rule);
        for (const wrong of ["", `${longest}a`]) {
          await refused("invalid", "such a key", () => engine.rates.decide(wrong, rule, 1));
        }
      }
      equal((await engine.rates.enter(longest, permits(1), "a")).allowed, true);
      equal((await engine.rates.enter(longest, permits(1), "b")).allowed, false);
    },
  },
  {
    name: "what was counted survives a crash",
    rule: "`survives`: what the count of an answered decision survives.",
    needs: needsCrash,
    async run(subject) {
      for (const type of types) await allowed(subject.engine, "key", five(type, endlessMs), 3);
      for (const type of types) await allowed(subject.engine, "reset", five(type, endlessMs), 5);
      for (const type of types) await subject.engine.rates.reset("reset", five(type, endlessMs));
      for (let round = 0; round < 2; round++) {
        await subject.crash!();
        for (const type of types) {
          const rule = five(type, endlessMs);
          equal((await allowed(subject.engine, "key", rule, 1)).remaining, 1 - round);
          if (round === 0) await allowed(subject.engine, "reset", rule, 5);
        }
      }
    },
  },
  {
    name: "after close everything is refused with `closed`",
    rule: "`closed`: it was closed before.",
    async run({ engine }) {
      const { rates } = engine;
      const rule = five("tokenBucket", endlessMs);
      await allowed(engine, "key", rule);
      const cut = Promise.allSettled(Array.from({ length: 20 }, () => rates.decide("key", rule, 1)));
      await engine.close();
      await engine.close();
      await within(engine.world, "what was under way is settled either way", cut);
      const error = await refused("closed", "decide", () => rates.decide("key", rule, 1));
      equal(error.outcome, "not-applied");
      await refused("closed", "enter", () => rates.enter("key", permits(1), "a"));
      await refused("closed", "leave", () => rates.leave("key", permits(1), "a"));
      await refused("closed", "reset", () => rates.reset("key", rule));
    },
  },
];
