/** Rates on Redis against a model that counts every unit, and what they leave on the server. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { Redis } from "ioredis";
import type { RateDecision, RateRule } from "tenon/contracts";
import { type RedisEngine, redis } from "tenon/redis";
import { type RedisServer, redisServerMissing, startRedis } from "./redis-server.ts";

type WindowRule = Extract<RateRule, { readonly windowMs: number }>;
type BucketRule = Extract<RateRule, { readonly ratePerSecond: number }>;

interface Taken {
  readonly at: number;
  readonly units: number;
}

/** What the contract allows at an instant that is known only to lie between two. */
interface Bounds {
  /** Units that may be counted at most, and at least. */
  readonly most: number;
  readonly least: number;
}

const longMs = 10 ** 12;

const windowRules: fc.Arbitrary<WindowRule> = fc.record({
  type: fc.constantFrom("fixedWindow", "slidingWindow", "slidingLog"),
  limit: fc.integer({ min: 1, max: 200 }),
  windowMs: fc.constantFrom(longMs, longMs * 2),
  cells: fc.integer({ min: 2, max: 1_000 }),
  countRefusals: fc.boolean(),
}) as fc.Arbitrary<WindowRule>;

const bucketRules: fc.Arbitrary<BucketRule> = fc.oneof(
  fc.record({
    type: fc.constant("tokenBucket" as const),
    ratePerSecond: fc.constant(1e-9),
    burst: fc.integer({ min: 1, max: 200 }),
  }),
  fc.record({
    type: fc.constant("leakyBucket" as const),
    ratePerSecond: fc.constant(1e-9),
    queueMax: fc.integer({ min: 0, max: 199 }),
  }),
);

function limitOf(rule: RateRule): number {
  if (rule.type === "tokenBucket") return rule.burst;
  return rule.type === "leakyBucket" ? rule.queueMax + 1 : rule.limit;
}

/** Nothing comes back while a case runs, so that every answer is known. */
class Model {
  #counted = 0;
  readonly #rule: RateRule;

  constructor(rule: RateRule) {
    this.#rule = rule;
  }

  decide(units: number): Pick<RateDecision, "allowed" | "remaining"> {
    const limit = limitOf(this.#rule);
    const allowed = this.#counted + units <= limit;
    if (allowed || ("countRefusals" in this.#rule && this.#rule.countRefusals === true)) this.#counted += units;
    return { allowed, remaining: Math.max(0, limit - this.#counted) };
  }
}

/** How much of a log or of a fixed or sliding window counts, at any instant between the two. */
function boundsOf(rule: WindowRule, taken: readonly Taken[], from: number, to: number): Bounds {
  const sum = (lastsMs: number, at: number) =>
    taken.reduce((counted, each) => counted + (at - each.at < lastsMs ? each.units : 0), 0);
  const longest = rule.type === "slidingWindow" ? rule.windowMs * (1 + 1 / rule.cells) : rule.windowMs;
  const shortest = rule.type === "fixedWindow" ? 0 : rule.windowMs;
  return { most: sum(longest + 1, from), least: sum(shortest, to + 1) };
}

describe("rates on Redis", { skip: redisServerMissing }, () => {
  let server: RedisServer;
  let engine: RedisEngine;
  let client: Redis;
  let count = 0;

  before(async () => {
    server = await startRedis();
    engine = await redis({ connect: () => new Redis(server.url, { autoResendUnfulfilledCommands: false }) });
    client = new Redis(server.url);
  });
  after(async () => {
    client?.disconnect();
    await engine?.close();
    await server?.dispose();
  });

  const nextKey = () => `key ${count++}`;

  test("every decision is what a model that counts every unit decides", async () => {
    const requests = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), {
      minLength: 1,
      maxLength: 60,
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(windowRules, bucketRules), requests, async (rule, drawn) => {
        const key = nextKey();
        const model = new Model(rule);
        const units = drawn.map((share) => 1 + Math.floor(share ** 3 * limitOf(rule)));
        const decisions = await Promise.all(units.map((each) => engine.rates.decide(key, rule, each)));
        for (const [index, { allowed, remaining }] of decisions.entries()) {
          assert.deepEqual({ allowed, remaining }, model.decide(units[index]!), `request ${index} of ${units}`);
        }
      }),
      { numRuns: 150 },
    );
  });

  test("what comes back is counted exactly as long as the rule says, whatever the pace", async () => {
    const rules = fc.record({
      type: fc.constantFrom("slidingWindow" as const, "slidingLog" as const),
      limit: fc.integer({ min: 1, max: 150 }),
      windowMs: fc.integer({ min: 5, max: 40 }),
      cells: fc.constant(4),
    });
    await fc.assert(
      fc.asyncProperty(rules, fc.integer({ min: 20, max: 120 }), async (rule, length) => {
        const key = nextKey();
        const taken: { at: Taken; answeredAt: Taken }[] = [];
        for (let index = 0; index < length; index++) {
          const units = 1 + (index % Math.min(3, rule.limit));
          const sent = Date.now();
          const { allowed } = await engine.rates.decide(key, rule, units);
          const answered = Date.now();
          const surely = boundsOf(
            rule,
            taken.map((each) => each.at),
            answered,
            answered + 1,
          );
          const perhaps = boundsOf(
            rule,
            taken.map((each) => each.answeredAt),
            sent - 1,
            answered,
          );
          if (allowed) assert.ok(surely.least + units <= rule.limit, `${surely.least} + ${units} of ${rule.limit}`);
          else assert.ok(perhaps.most + units > rule.limit, `refused ${units} with ${perhaps.most} of ${rule.limit}`);
          if (allowed) taken.push({ at: { at: sent - 1, units }, answeredAt: { at: answered + 1, units } });
        }
      }),
      { numRuns: 25 },
    );
  });

  test("nothing is on the server that does not end by itself, nor more than the rule needs", async () => {
    const rules = fc.sample(fc.oneof(windowRules, bucketRules), { numRuns: 60, seed: 7 });
    for (const rule of rules) {
      const key = nextKey();
      for (let round = 0; round < 4; round++) await engine.rates.decide(key, rule, limitOf(rule) > 1 ? 2 : 1);
    }
    for (const permit of ["a", "b", "c"]) {
      await engine.rates.enter("key", { type: "concurrency", limit: 2, holdMs: 60_000 }, permit);
    }
    const keys = await client.keys("tenon:rate-*");
    assert.ok(keys.length >= rules.length);
    for (const key of keys) assert.ok((await client.pttl(key)) > 0, `${key} ends`);
    await engine.rates.leave("key", { type: "concurrency", limit: 2, holdMs: 60_000 }, "a");
    await engine.rates.leave("key", { type: "concurrency", limit: 2, holdMs: 60_000 }, "b");
    assert.equal(await client.exists("tenon:rate-p:key"), 0);
  });

  test("what was counted under a clock that is set back counts as if it had just happened, and no longer", async () => {
    const aheadMs = 3_600_000;
    const windowMs = 60_000;
    const rules: Readonly<Record<string, RateRule>> = {
      f: { type: "fixedWindow", limit: 5, windowMs },
      w: { type: "slidingWindow", limit: 5, windowMs, cells: 60 },
      s: { type: "slidingLog", limit: 5, windowMs },
      t: { type: "tokenBucket", ratePerSecond: 5 / 60, burst: 5 },
      l: { type: "leakyBucket", ratePerSecond: 5 / 60, queueMax: 4 },
    };
    for (const [letter, rule] of Object.entries(rules)) {
      const key = nextKey();
      const stored = `tenon:rate-${letter}:${key}`;
      await engine.rates.decide(key, rule, 5);
      // As it would be found if the clock had been ahead when it was written.
      if (letter === "w" || letter === "s") {
        const at = Number(await client.lindex(stored, 0));
        await client.lset(stored, 0, String(at + (letter === "w" ? aheadMs / 1_000 : aheadMs)));
      } else if (letter !== "f") {
        // A fixed window is known by its end alone.
        const state = (await client.getBuffer(stored))!;
        state.writeDoubleLE(state.readDoubleLE(0) + aheadMs, 0);
        await client.set(stored, state);
      }
      await client.pexpire(stored, aheadMs + windowMs);
      const { allowed, retryAfterMs } = await engine.rates.decide(key, rule, 5);
      assert.equal(allowed, false, rule.type);
      const longestMs = letter === "w" ? windowMs * (1 + 1 / 60) : windowMs;
      assert.ok(retryAfterMs <= longestMs + 1, `${rule.type} is free after ${retryAfterMs} ms`);
      assert.ok((await client.pttl(stored)) <= longestMs + 1, `${rule.type} ends`);
    }
    const permits = { type: "concurrency", limit: 1, holdMs: windowMs } as const;
    await engine.rates.enter("ahead", permits, "a");
    for (const [member, way] of [
      ["t", -1],
      ["pa", 1],
    ] as const) {
      await client.zincrby("tenon:rate-p:ahead", way * aheadMs, member);
    }
    const { allowed, retryAfterMs } = await engine.rates.enter("ahead", permits, "b");
    assert.equal(allowed, false);
    assert.ok(retryAfterMs > windowMs / 2 && retryAfterMs <= windowMs, `${retryAfterMs} ms`);
    assert.ok((await client.pttl("tenon:rate-p:ahead")) <= windowMs);
  });

  test("who hammers a log that counts refusals does not make it longer than its limit", async () => {
    const rule = { type: "slidingLog", limit: 20, windowMs: longMs, countRefusals: true } as const;
    for (let round = 0; round < 300; round++) {
      await engine.rates.decide("hammered", rule, 1);
      if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const [key] = await client.keys("tenon:rate-s:hammered");
    assert.ok(key !== undefined);
    assert.ok((await client.llen(key)) <= 2 * rule.limit + 1);
    assert.equal((await engine.rates.decide("hammered", rule, 1)).allowed, false);
  });

  test("what is asked at once under one rule is one command, each key with its own count and answer", async () => {
    const commands = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info("commandstats"))?.[1]);
    const rules: readonly RateRule[] = [
      { type: "fixedWindow", limit: 3, windowMs: longMs },
      { type: "slidingWindow", limit: 3, windowMs: longMs, cells: 10 },
      { type: "slidingLog", limit: 3, windowMs: longMs },
      { type: "tokenBucket", ratePerSecond: 1e-9, burst: 3 },
      { type: "leakyBucket", ratePerSecond: 1e-9, queueMax: 2 },
    ];
    for (const rule of rules) {
      await engine.rates.decide(nextKey(), rule, 1);
      const [one, two] = [nextKey(), nextKey()];
      const before = await commands();
      const asked = [
        [one, 2],
        [two, 1],
        [one, 2],
        [two, 2],
        [one, 1],
      ] as const;
      const decisions = await Promise.all(asked.map(([key, count]) => engine.rates.decide(key, rule, count)));
      assert.equal((await commands()) - before, 1, rule.type);
      assert.deepEqual(
        decisions.map(({ allowed, remaining }) => [allowed, remaining]),
        [
          [true, 1],
          [true, 2],
          [false, 1],
          [true, 0],
          [true, 0],
        ],
        rule.type,
      );
      if (rule.type === "leakyBucket") assert.ok(decisions[1]!.delayMs === 0 && decisions[3]!.delayMs > 0);
    }
  });

  test("a thousand keys that are asked at once each get their answer", async () => {
    const rule = { type: "fixedWindow", limit: 1, windowMs: longMs } as const;
    const keys = Array.from({ length: 1_000 }, nextKey);
    const first = await Promise.all(keys.map((key) => engine.rates.decide(key, rule, 1)));
    const second = await Promise.all(keys.map((key) => engine.rates.decide(key, rule, 1)));
    assert.ok(first.every(({ allowed }) => allowed) && second.every(({ allowed }) => !allowed));
  });

  test("a decision is one command, once the server knows the script", async () => {
    const rule = { type: "tokenBucket", ratePerSecond: 1, burst: 1_000 } as const;
    await engine.rates.decide("counted", rule, 1);
    const commands = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info("commandstats"))?.[1]);
    const before = await commands();
    for (let round = 0; round < 10; round++) await engine.rates.decide("counted", rule, 1);
    assert.equal((await commands()) - before, 10);
  });
});
