import assert from "node:assert/strict";
import { test } from "node:test";
import type { RateDecision, RateRule } from "../../contracts/rates.ts";
import { Violation } from "../system.ts";
import { type ClockReadings, ClockRecord } from "./clock-record.ts";
import type { RateInput, RateOperation } from "./rate-history.ts";
import { checkRates } from "./rate-rules.ts";

function operation(from: number, to: number | undefined, input: RateInput, decision?: RateDecision): RateOperation {
  return {
    client: "shop",
    input,
    calledAt: from,
    returnedAt: to,
    called: from * 2,
    returned: to === undefined ? undefined : to * 2 + 1,
    output: to === undefined ? undefined : { decision },
  };
}

const decision = (allowed: boolean, delayMs = 0): RateDecision => ({
  allowed,
  retryAfterMs: allowed ? 0 : 1,
  remaining: 0,
  delayMs,
});

/** Decisions at the instants: positive ones were allowed, negative ones refused. */
function decided(rule: RateRule, ...instants: readonly number[]): RateOperation[] {
  return instants.map((at) => taken(rule, at, 1));
}

function taken(rule: RateRule, at: number, count: number, delayMs = 0): RateOperation {
  const from = Math.abs(at);
  return operation(from, from + 1, { type: "decide", key: "k", rule, count }, decision(at >= 0, delayMs));
}

function unknown(rule: RateRule, at: number): RateOperation {
  return operation(at, undefined, { type: "decide", key: "k", rule, count: 1 });
}

function broken(message: RegExp, operations: readonly RateOperation[], clock?: ClockReadings): void {
  assert.throws(
    () => checkRates(operations, { clock }),
    (error) => error instanceof Violation && message.test(error.message),
  );
}

function clockOf(wallAt: (atMs: number) => number): ClockRecord {
  const clock = new ClockRecord();
  for (let at = 0; at < 5_000; at++) clock.read(at, wallAt(at));
  return clock;
}

test("a sliding log allows its limit in any window, exactly", () => {
  const rule = { type: "slidingLog", limit: 2, windowMs: 1_000 } as const;
  checkRates(decided(rule, 0, 500, -900, 1_002, 1_502));
  broken(
    /3 units of "k" were allowed between 0 ms and 901 ms, which is at most 901 ms by the engine's clock, where slidingLog \(limit 2, windowMs 1000\) allows 2/,
    decided(rule, 0, 500, 900),
  );
  broken(
    /1 units of "k" were refused to shop between 1500 ms and 1501 ms, although at least 1 were left/,
    decided(rule, 0, 900, -1_500),
  );
});

test("a sliding window never allows more than its limit, and refuses one part too long at most", () => {
  const rule = { type: "slidingWindow", limit: 2, windowMs: 1_000, cells: 10 } as const;
  checkRates(decided(rule, 0, 10, -1_050, 1_150));
  broken(/3 units/, decided(rule, 0, 500, 990));
  broken(/were refused/, decided(rule, 0, 10, -1_150));
});

test("a fixed window allows its limit in each window, and twice that around an edge", () => {
  const rule = { type: "fixedWindow", limit: 2, windowMs: 1_000 } as const;
  checkRates(decided(rule, 900, 950, 1_010, 1_050, -1_100));
  broken(
    /3 units of "k" were allowed between 100 ms and 901 ms, all in the window that began at 0/,
    decided(rule, 100, 500, 900),
  );
  broken(/5 units of "k" were allowed between 900 ms and 1061 ms/, [
    ...decided(rule, 900, 950),
    taken(rule, 1_010, 2),
    taken(rule, 1_060, 1),
  ]);
  broken(/were refused/, decided(rule, 100, 500, -1_010));
});

test("a token bucket gives its burst and what came back", () => {
  const rule = { type: "tokenBucket", ratePerSecond: 10, burst: 3 } as const;
  checkRates(decided(rule, 0, 1, 2, -50, 110));
  broken(/4 units/, decided(rule, 0, 1, 2, 50));
  broken(/were refused/, decided(rule, 0, 1, 2, -250));
});

test("a leaky bucket takes its queue, and lets it out evenly", () => {
  const rule = { type: "leakyBucket", ratePerSecond: 10, queueMax: 2 } as const;
  checkRates([
    taken(rule, 0, 1),
    taken(rule, 2, 1, 98),
    taken(rule, 4, 1, 196),
    taken(rule, -6, 1),
    taken(rule, 150, 1, 150),
  ]);
  broken(/4 units/, [taken(rule, 0, 1), taken(rule, 2, 1, 98), taken(rule, 4, 1, 196), taken(rule, 6, 1, 294)]);
  broken(/2 units of "k" leave their queue within 51 ms by the engine's clock, as was decided between 0 ms and 3 ms/, [
    taken(rule, 0, 1),
    taken(rule, 2, 1, 48),
  ]);
  checkRates([taken(rule, 0, 2, 100), taken(rule, 2, 1, 198)]);
});

test("a decision that nobody knows of may be why another was refused, and is no proof of too many", () => {
  const rule = { type: "slidingLog", limit: 2, windowMs: 1_000 } as const;
  checkRates([...decided(rule, 0, 500, -700)].concat(unknown(rule, 10)));
  checkRates([unknown(rule, 10), ...decided(rule, 20, -30)]);
  checkRates([unknown(rule, 10), unknown(rule, 11), ...decided(rule, -4_000)]);
  broken(/were refused/, [unknown(rule, 10), ...decided(rule, -30)]);
});

test("counted refusals keep out whoever goes on asking", () => {
  const rule = { type: "slidingLog", limit: 1, windowMs: 1_000, countRefusals: true } as const;
  checkRates(decided(rule, 0, -500, -1_200));
  broken(/were refused/, decided({ ...rule, countRefusals: false }, 0, -500, -1_200));
});

test("time is the engine's clock: ahead frees, back counts as standing still", () => {
  const rule = { type: "slidingLog", limit: 2, windowMs: 1_000 } as const;
  const ahead = clockOf((at) => (at < 500 ? at : at + 10_000));
  checkRates(decided(rule, 0, 10, 600, 610), { clock: ahead });
  broken(/3 units/, decided(rule, 0, 10, 490), ahead);
  const back = clockOf((at) => (at < 500 ? at : at - 400));
  checkRates(decided(rule, 0, 10, -600, 1_020, 1_030), { clock: back });
  broken(/3 units/, decided(rule, 0, 10, 900), back);
});

test("a fixed window allows its limit again whenever the clock, set back, passes an edge anew", () => {
  const rule = { type: "fixedWindow", limit: 2, windowMs: 1_000 } as const;
  const back = clockOf((at) => (at < 1_100 ? at : at - 300));
  const around = decided(rule, 900, 910, 1_050, 1_150, -1_160, 1_310, 1_320);
  checkRates(around, { clock: back });
  broken(/5 units of "k" were allowed/, around);
  broken(
    /7 units of "k" were allowed/,
    [...around.slice(0, 4), ...decided(rule, 1_152), ...around.slice(5), ...decided(rule, 1_330)],
    back,
  );
});

test("after a reset everything begins anew", () => {
  const rule = { type: "slidingLog", limit: 1, windowMs: 1_000 } as const;
  const reset = operation(100, 110, { type: "reset", key: "k", rule }, undefined);
  checkRates([...decided(rule, 0), reset, ...decided(rule, 120)]);
  broken(/2 units/, [...decided(rule, 0), reset, ...decided(rule, 120, 200)]);
});

test("keys and rules have nothing to do with one another", () => {
  const rule = { type: "slidingLog", limit: 1, windowMs: 1_000 } as const;
  const [first] = decided(rule, 0);
  const other = { ...first!, input: { ...first!.input, key: "other" } };
  checkRates([first!, other as RateOperation, ...decided({ ...rule, limit: 5 }, 5)]);
});

test("at most so many permits are out at a time, until they are given back or their time is over", () => {
  const rule = { type: "concurrency", limit: 1, holdMs: 1_000 } as const;
  const enter = (at: number, permit: string, allowed = true) =>
    operation(at, at + 1, { type: "enter", key: "k", rule, permit }, decision(allowed));
  const leave = (at: number, permit: string) => operation(at, at + 1, { type: "leave", key: "k", rule, permit });
  const lost = (at: number, permit: string) => operation(at, undefined, { type: "enter", key: "k", rule, permit });
  checkRates([
    enter(0, "a"),
    leave(10, "a"),
    enter(12, "b"),
    enter(500, "b"),
    enter(600, "c", false),
    enter(1_520, "c"),
  ]);
  broken(/b \(of shop\) was let into "k" between 10 ms and 11 ms, while as many as 1 were inside: a \(of shop\)/, [
    enter(0, "a"),
    enter(10, "b"),
  ]);
  broken(/b \(of shop\) was let/, [enter(0, "a"), enter(500, "a"), enter(1_300, "b")]);
  broken(/b \(of shop\) was kept out of "k" between 12 ms and 13 ms, although at most 0 of 1/, [
    enter(0, "a"),
    leave(10, "a"),
    enter(12, "b", false),
  ]);
  broken(/was kept out/, [enter(0, "a"), enter(1_020, "b", false)]);
  checkRates([lost(0, "a"), enter(1_020, "b", false), enter(1_100, "c")]);
});
