import { equal, ok } from "node:assert/strict";
import type { RateDecision } from "../../contracts/index.ts";
import type { RateCase, RatesEngine } from "../conformance-case.ts";
import { eventually, refused } from "../expectations.ts";
import { needsCrash, permits } from "./fixtures.ts";

async function entered(engine: RatesEngine, rule: ReturnType<typeof permits>, permit: string): Promise<RateDecision> {
  const decision = await engine.rates.enter("key", rule, permit);
  equal(decision.allowed, true, `${permit} is to be let in`);
  equal(decision.retryAfterMs, 0);
  equal(decision.delayMs, 0);
  return decision;
}

async function keptOut(engine: RatesEngine, rule: ReturnType<typeof permits>, permit: string): Promise<RateDecision> {
  const decision = await engine.rates.enter("key", rule, permit);
  equal(decision.allowed, false, `${permit} is to be kept out`);
  equal(decision.remaining, 0);
  return decision;
}

export const permitCases: readonly RateCase[] = [
  {
    name: "at most the limit is inside at a time, and who leaves makes room",
    rule: "At most `limit` permits at a time.",
    async run({ engine }) {
      const rule = permits(3);
      equal((await entered(engine, rule, "a")).remaining, 2);
      equal((await entered(engine, rule, "b")).remaining, 1);
      equal((await entered(engine, rule, "c")).remaining, 0);
      await keptOut(engine, rule, "d");
      await engine.rates.leave("key", rule, "b");
      await entered(engine, rule, "d");
      await keptOut(engine, rule, "b");
    },
  },
  {
    name: "asking again under the same name takes no second permit",
    rule: "Asking again under the same name is allowed, takes no second one.",
    async run({ engine }) {
      const rule = permits(2);
      await entered(engine, rule, "a");
      equal((await entered(engine, rule, "a")).remaining, 1);
      await entered(engine, rule, "b");
      await entered(engine, rule, "a");
      await keptOut(engine, rule, "c");
      await engine.rates.leave("key", rule, "a");
      await entered(engine, rule, "c");
    },
  },
  {
    name: "giving back what one does not have is no error",
    rule: "Gives a permit back. No error when it has ended.",
    async run({ engine }) {
      const rule = permits(1);
      await engine.rates.leave("key", rule, "nobody");
      await entered(engine, rule, "a");
      await engine.rates.leave("key", rule, "nobody");
      await keptOut(engine, rule, "b");
      await engine.rates.leave("key", rule, "a");
      await engine.rates.leave("key", rule, "a");
      await entered(engine, rule, "b");
      await keptOut(engine, rule, "a");
    },
  },
  {
    name: "a permit that is not given back ends after holdMs, not before",
    rule: "A permit that is not given back ends after `holdMs`.",
    takesMs: 250,
    async run({ engine }) {
      const { clock } = engine.world;
      const rule = permits(1, 250);
      const sentAt = clock.monotonic();
      await entered(engine, rule, "a");
      await eventually(engine.world, "b is let in", async () => (await engine.rates.enter("key", rule, "b")).allowed);
      ok(clock.monotonic() - sentAt >= 248, "not before its end");
    },
  },
  {
    name: "asking again starts holdMs anew",
    rule: "Asking again under the same name starts `holdMs` anew.",
    takesMs: 450,
    async run({ engine }) {
      const { clock, timers } = engine.world;
      const rule = permits(1, 300);
      await entered(engine, rule, "a");
      await timers.sleep(150);
      const sentAt = clock.monotonic();
      await entered(engine, rule, "a");
      await eventually(engine.world, "b is let in", async () => (await engine.rates.enter("key", rule, "b")).allowed);
      ok(clock.monotonic() - sentAt >= 298, "not before its end");
    },
  },
  {
    name: "a refusal says when the first permit ends",
    rule: "For concurrency: after how many milliseconds the first permit ends by itself.",
    takesMs: 700,
    async run({ engine }) {
      const { clock, timers } = engine.world;
      const long = permits(2, 600_000);
      await entered(engine, long, "long");
      const sentAt = clock.monotonic();
      await entered(engine, permits(2, 700), "short");
      const refusal = await engine.rates.enter("key", long, "next");
      const passedMs = clock.monotonic() - sentAt;
      if (passedMs >= 700) return;
      equal(refusal.allowed, false);
      ok(refusal.retryAfterMs >= 700 - passedMs - 2 && refusal.retryAfterMs <= 702, `${refusal.retryAfterMs} ms`);
      await timers.sleep(refusal.retryAfterMs + 2);
      await entered(engine, long, "next");
    },
  },
  {
    name: "of many who come at once exactly the limit is let in",
    rule: "Decisions are atomic over all processes that ask.",
    async run({ engine }) {
      const rule = permits(7);
      for (let round = 0; round < 3; round++) {
        const asking = Array.from({ length: 40 }, (_, index) => engine.rates.enter("key", rule, `${round}-${index}`));
        const decisions = await Promise.all(asking);
        equal(decisions.filter((decision) => decision.allowed).length, 7);
        const leaving = decisions.map((each, index) =>
          each.allowed ? engine.rates.leave("key", rule, `${round}-${index}`) : undefined,
        );
        await Promise.all(leaving);
      }
    },
  },
  {
    name: "keys have permits of their own, and reset gives all of a key's back",
    rule: "Forgets what was counted under the rule's type and key.",
    async run({ engine }) {
      const rule = permits(1);
      await entered(engine, rule, "a");
      equal((await engine.rates.enter("other", rule, "a")).allowed, true);
      await refused("invalid", "a permit without a name", () => engine.rates.enter("key", rule, ""));
      await engine.rates.reset("key", rule);
      await entered(engine, rule, "b");
      equal((await engine.rates.enter("other", rule, "b")).allowed, false);
    },
  },
  {
    name: "permits are still held after a crash, and can be given back",
    rule: "`survives`: what the count of an answered decision survives.",
    needs: needsCrash,
    async run(subject) {
      const rule = permits(3);
      for (const permit of ["a", "b", "c"]) await entered(subject.engine, rule, permit);
      await subject.engine.rates.leave("key", rule, "b");
      await subject.crash!();
      await entered(subject.engine, rule, "d");
      await keptOut(subject.engine, rule, "b");
      await subject.engine.rates.leave("key", rule, "a");
      await entered(subject.engine, rule, "b");
    },
  },
];
