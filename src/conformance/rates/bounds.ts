import { equal, ok } from "node:assert/strict";
import type { RateRule } from "../../contracts/index.ts";
import type { RateCase } from "../conformance-case.ts";
import { eventually } from "../expectations.ts";
import { allowed, declined, endlessMs, five, type RateType, types, units } from "./fixtures.ts";
import { Ledger } from "./ledger.ts";

const rules: Readonly<Record<RateType, { readonly says: string; readonly rule: RateRule }>> = {
  fixedWindow: {
    says: "At most `limit` in each window of `windowMs` since the epoch. Around an edge, twice that within one `windowMs`.",
    rule: { type: "fixedWindow", limit: 7, windowMs: 200 },
  },
  slidingWindow: {
    says: "At most `limit` in the last `windowMs`, counted in `cells` parts of it; it never allows more than the limit.",
    rule: { type: "slidingWindow", limit: 7, windowMs: 200, cells: 5 },
  },
  slidingLog: {
    says: "At most `limit` in any `windowMs`, exactly: each unit's instant is remembered.",
    rule: { type: "slidingLog", limit: 7, windowMs: 200 },
  },
  leakyBucket: {
    says: "A queue that is left at `ratePerSecond`, evenly. At most `queueMax` units wait; more are refused.",
    rule: { type: "leakyBucket", ratePerSecond: 40, queueMax: 6 },
  },
  tokenBucket: {
    says: "At most `burst` + `ratePerSecond` × t in any t seconds. A new key has the full burst.",
    rule: { type: "tokenBucket", ratePerSecond: 40, burst: 7 },
  },
};

/** Requests at drawn instants, of drawn sizes, some of them at once. */
async function drawn(ledger: Ledger, world: Parameters<RateCase["run"]>[0]["engine"]["world"]): Promise<void> {
  const { random, timers } = world;
  for (let round = 0; round < 40; round++) {
    const together = random.float() < 0.3 ? 4 : 1;
    const asking = Array.from({ length: together }, () => ledger.ask(1 + Math.floor(random.float() ** 3 * 4)));
    await Promise.all(asking);
    if (random.float() < 0.6) await timers.sleep(Math.ceil(random.float() ** 2 * 80));
  }
}

function casesOf(type: RateType): readonly RateCase[] {
  const { says, rule } = rules[type];
  return [
    {
      name: `${type}: whatever comes, its bound holds, and nothing is refused that may pass`,
      rule: says,
      takesMs: 1_500,
      async run({ engine }) {
        const ledger = new Ledger(engine, "key", rule);
        await drawn(ledger, engine.world);
        ledger.check();
      },
    },
    {
      name: `${type}: concurrent callers get all that is there, and no more`,
      rule: "Decisions are atomic over all processes that ask.",
      async run({ engine }) {
        const endless = units(type, 20, endlessMs);
        const asking = Array.from({ length: 60 }, () => engine.rates.decide("key", endless, 1));
        const decisions = await Promise.all(asking);
        equal(decisions.filter((decision) => decision.allowed).length, 20);
        const left = decisions.filter((each) => each.allowed).map(({ remaining }) => remaining);
        equal(new Set(left).size, 20, "each of them saw another number of units left");
        await declined(engine, "key", endless);
      },
    },
    {
      name: `${type}: a refusal says after how long the same request succeeds`,
      rule: "`retryAfterMs`: after how many whole milliseconds the same request succeeds if nobody else comes.",
      takesMs: 1_200,
      async run({ engine, exactTime }) {
        const { timers } = engine.world;
        for (const count of [1, 3, 5]) {
          const key = `key ${count}`;
          const rule = five(type, 300);
          let refusal = await engine.rates.decide(key, rule, 5);
          // On a slow machine what was taken may have come back before the next request.
          for (let tries = 0; tries < 100 && refusal.allowed; tries++)
            refusal = await engine.rates.decide(key, rule, count);
          ok(!refusal.allowed, "it is refused at some time");
          const { retryAfterMs } = refusal;
          ok(retryAfterMs >= 1 && retryAfterMs <= 300 * 1.1 + 1, `retryAfterMs is ${retryAfterMs}`);
          if (exactTime && retryAfterMs > 10) {
            await timers.sleep(retryAfterMs - 5);
            await declined(engine, key, rule, count);
            await timers.sleep(6);
          } else await timers.sleep(retryAfterMs + 2);
          await allowed(engine, key, rule, count);
        }
      },
    },
    {
      name: `${type}: a decision tells how many whole units are left`,
      rule: "`remaining`: whole units that are left now.",
      async run({ engine }) {
        const endless = five(type, endlessMs);
        equal((await allowed(engine, "key", endless, 2)).remaining, 3);
        equal((await declined(engine, "key", endless, 4)).remaining, 3, "a refusal takes nothing");
        equal((await allowed(engine, "key", endless, 1)).remaining, 2);
        equal((await allowed(engine, "key", endless, 2)).remaining, 0);
        equal((await declined(engine, "key", endless, 1)).remaining, 0);
      },
    },
    {
      name: `${type}: what was taken comes back`,
      rule: "That state goes by itself when the key is as good as unused.",
      takesMs: 600,
      async run({ engine }) {
        const rule = five(type, 150);
        for (let round = 0; round < 3; round++) {
          await eventually(engine.world, "all of it is there again", async () => {
            return (await engine.rates.decide("key", rule, 5)).allowed;
          });
        }
      },
    },
    {
      name: `${type}: keys share nothing, and reset forgets one of them`,
      rule: "Forgets what was counted under the rule's type and key.",
      async run({ engine }) {
        const endless = five(type, endlessMs);
        const keys = ["key", "key:", "Key", "key 2", "prüf·名前·🧀", "0"];
        for (const key of keys) await allowed(engine, key, endless, 5);
        for (const key of keys) await declined(engine, key, endless);
        await engine.rates.reset("key", endless);
        equal((await allowed(engine, "key", endless, 2)).remaining, 3);
        for (const key of keys.slice(1)) await declined(engine, key, endless);
        await engine.rates.reset("nobody knows it", endless);
      },
    },
    {
      name: `${type}: when the limit changes, what was counted stays`,
      rule: "When a key's rule gets another `limit`, `queueMax` or `burst`, what was counted stays.",
      async run({ engine }) {
        // The rate of a bucket stays the same.
        const smaller = units(type, 5, endlessMs);
        const larger = units(type, 10, endlessMs * 2);
        const same = "windowMs" in larger ? { ...larger, windowMs: endlessMs } : larger;
        await allowed(engine, "key", smaller, 4);
        if (type === "tokenBucket") {
          // Tokens are counted, not what was taken: a larger bucket fills up at its rate.
          equal((await declined(engine, "key", same, 7)).allowed, false);
        } else equal((await allowed(engine, "key", same, 1)).remaining, 5);
        await engine.rates.reset("key", smaller);
        await allowed(engine, "key", same, 9);
        await declined(engine, "key", smaller, 5);
      },
    },
  ];
}

export const boundCases: readonly RateCase[] = types.flatMap(casesOf);
