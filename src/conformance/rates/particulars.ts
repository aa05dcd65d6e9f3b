import { equal, ok } from "node:assert/strict";
import type { RateCase } from "../conformance-case.ts";
import { eventually } from "../expectations.ts";
import { allowed, declined, endlessMs, five, permits, types } from "./fixtures.ts";
import { Ledger } from "./ledger.ts";

const windows = ["fixedWindow", "slidingWindow", "slidingLog"] as const;

export const particularCases: readonly RateCase[] = [
  {
    name: "a fixed window begins anew at each multiple of its length since the epoch",
    rule: "At most `limit` in each window of `windowMs` since the epoch.",
    takesMs: 700,
    async run({ engine }) {
      const { clock, timers } = engine.world;
      const windowMs = 200;
      const rule = { type: "fixedWindow", limit: 3, windowMs } as const;
      for (let round = 0; round < 3; round++) {
        const sentAt = clock.now();
        let left = 3;
        while (left > 0 && (await engine.rates.decide("key", rule, 1)).allowed) left -= 1;
        const refusal = await engine.rates.decide("key", rule, 1);
        const answeredAt = clock.now();
        // Only when all of it happened in one window is it known what had to come.
        if (Math.floor(sentAt / windowMs) === Math.floor((answeredAt + 2) / windowMs) && round === 0) {
          equal(left, 0);
          ok(!refusal.allowed);
          const edge = (Math.floor(answeredAt / windowMs) + 1) * windowMs;
          ok(answeredAt + refusal.retryAfterMs >= edge - 2, "it has to wait for the edge");
          ok(sentAt + refusal.retryAfterMs <= edge + 2, "it has to wait for no more than the edge");
        }
        await timers.sleep(windowMs + 2);
        await allowed(engine, "key", rule, 1);
        await timers.sleep(windowMs + 2);
      }
    },
  },
  {
    name: "refusals count where the rule says so, and only there",
    rule: "`countRefusals`: a refused request counts like an allowed one. Left out: it does not.",
    async run({ engine }) {
      for (const type of windows) {
        const kind = five(type, endlessMs);
        const strict = { ...kind, countRefusals: true } as typeof kind;
        await allowed(engine, "kind", kind, 3);
        equal((await declined(engine, "kind", kind, 4)).remaining, 2);
        equal((await allowed(engine, "kind", kind, 1)).remaining, 1);
        await allowed(engine, "strict", strict, 3);
        equal((await declined(engine, "strict", strict, 4)).remaining, 0);
        await declined(engine, "strict", strict, 1);
      }
    },
  },
  {
    name: "who keeps hammering stays out, and gets in after a pause",
    rule: "A refused request counts like an allowed one, so that who keeps hammering stays out.",
    takesMs: 1_800,
    async run({ engine, exactTime }) {
      const { timers } = engine.world;
      for (const type of ["slidingWindow", "slidingLog"] as const) {
        const rule = { ...five(type, 200), countRefusals: true } as ReturnType<typeof five>;
        await engine.rates.decide("key", rule, 5);
        let refusal = await engine.rates.decide("key", rule, 5);
        for (let round = 0; round < 12; round++) {
          await timers.sleep(50);
          refusal = await engine.rates.decide("key", rule, 5);
          if (exactTime) ok(!refusal.allowed, `${type}: hammering lets it in`);
        }
        for (let tries = 0; tries < 100 && refusal.allowed; tries++)
          refusal = await engine.rates.decide("key", rule, 5);
        ok(!refusal.allowed, "it is refused at some time");
        await timers.sleep(refusal.retryAfterMs + 2);
        await allowed(engine, "key", rule, 5);
      }
    },
  },
  {
    name: "a leaky bucket is left evenly, and its first unit at once",
    rule: "`delayMs`: how many milliseconds to wait before going on, 0 to start at once.",
    takesMs: 500,
    async run({ engine }) {
      const { clock, random, timers } = engine.world;
      const rule = { type: "leakyBucket", ratePerSecond: 50, queueMax: 9 } as const;
      equal((await allowed(engine, "first", rule)).delayMs, 0);
      const leaving: { readonly from: number; readonly to: number; readonly count: number }[] = [];
      for (let round = 0; round < 30; round++) {
        const count = random.float() < 0.3 ? 2 : 1;
        const sentAt = clock.monotonic();
        const { allowed: may, delayMs } = await engine.rates.decide("key", rule, count);
        if (may) leaving.push({ from: sentAt + delayMs, to: clock.monotonic() + delayMs, count });
        ok(delayMs <= 9 * 20 + 1, "nobody waits behind more than the queue holds");
        if (random.float() < 0.5) await timers.sleep(Math.ceil(random.float() * 30));
      }
      ok(leaving.length >= 10);
      for (const [index, { to, count }] of leaving.entries()) {
        if (index === 0) continue;
        const apartMs = to - leaving[index - 1]!.from;
        ok(apartMs >= count * 20 - 3, `two requests leave ${apartMs} ms apart, where ${count * 20} are due`);
      }
    },
  },
  {
    name: "only a leaky bucket delays",
    rule: "0 for every other rule.",
    async run({ engine }) {
      for (const type of types) {
        if (type === "leakyBucket") continue;
        for (let round = 0; round < 5; round++) equal((await allowed(engine, "key", five(type, endlessMs))).delayMs, 0);
      }
    },
  },
  {
    name: "a queue of nobody lets one through at a time",
    rule: "At most `queueMax` units wait, beside the one that may go on at once.",
    async run({ engine }) {
      const rule = { type: "leakyBucket", ratePerSecond: 0.001, queueMax: 0 } as const;
      equal((await allowed(engine, "key", rule)).delayMs, 0);
      await declined(engine, "key", rule);
    },
  },
  {
    name: "a token bucket takes fractions",
    rule: "Of a token bucket, any number above 0.",
    async run({ engine }) {
      const rule = { type: "tokenBucket", ratePerSecond: 1e-6, burst: 2 } as const;
      for (let round = 0; round < 8; round++) await allowed(engine, "key", rule, 0.25);
      await declined(engine, "key", rule, 0.25);
    },
  },
  {
    name: "rules of different types share nothing under the same key",
    rule: "Keys of different types of rules share nothing.",
    async run({ engine }) {
      const rules = types.map((type) => five(type, endlessMs));
      for (const rule of rules) await allowed(engine, "key", rule, 5);
      for (const rule of rules) await declined(engine, "key", rule);
      equal((await engine.rates.enter("key", permits(1), "a")).allowed, true);
      await engine.rates.reset("key", rules[0]!);
      await allowed(engine, "key", rules[0]!, 5);
      for (const rule of rules) await declined(engine, "key", rule);
      equal((await engine.rates.enter("key", permits(1), "b")).allowed, false);
    },
  },
  {
    name: "many keys are counted side by side",
    rule: "A decision reads and changes the state of one key in one step.",
    async run({ engine }) {
      const rule = five("slidingWindow", endlessMs);
      const asking = Array.from({ length: 600 }, (_, index) => engine.rates.decide(`key ${index % 100}`, rule, 1));
      const decisions = await Promise.all(asking);
      equal(decisions.filter((each) => each.allowed).length, 500);
    },
  },
  {
    name: "a log of many units counts each of them",
    rule: "At most `limit` in any `windowMs`, exactly: each unit's instant is remembered.",
    takesMs: 1_000,
    async run({ engine }) {
      const limit = Math.min(300, engine.rates.capabilities.logLimitMax);
      const endless = { type: "slidingLog", limit, windowMs: endlessMs } as const;
      for (let taken = 1; taken <= limit; taken++) {
        equal((await allowed(engine, "key", endless)).remaining, limit - taken);
        if (taken % 3 === 0) await engine.world.timers.sleep(1);
      }
      await declined(engine, "key", endless);
      const passing = { type: "slidingLog", limit: 150, windowMs: 100 } as const;
      const ledger = new Ledger(engine, "passing", passing);
      for (let round = 0; round < 250; round++) {
        await ledger.ask();
        if (round % 2 === 0) await engine.world.timers.sleep(1);
      }
      ledger.check();
      await eventually(engine.world, "all of it is there again", async () => {
        return (await engine.rates.decide("passing", passing, 150)).allowed;
      });
    },
  },
];
