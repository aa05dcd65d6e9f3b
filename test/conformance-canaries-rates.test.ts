/** Rates that are broken on purpose, one fault each, and the case that must find it. */
import { describe, test } from "node:test";
import { type RatesEngine, rateCases } from "tenon/conformance";
import type { RateDecision, RateEngine, RateRule } from "tenon/contracts";
import { embedded } from "tenon/embedded";
import type { World } from "tenon/world";
import { type Canary, mustBeFound } from "./conformance-canary.ts";
import { forgetfulWorld } from "./forgetful-world.ts";

interface Fault {
  readonly fault: string;
  readonly caughtBy: string;
  readonly rates?: (sound: RateEngine, world: World) => Partial<RateEngine>;
  readonly world?: (sound: World) => World;
  readonly staysOpen?: boolean;
}

const faults: readonly Fault[] = [
  {
    fault: "loses an update under concurrency",
    caughtBy: "fixedWindow: concurrent callers get all that is there, and no more",
    rates: (_, world) => {
      const taken = new Map<string, number>();
      return {
        async decide(key, rule, count) {
          const before = taken.get(key) ?? 0;
          await world.timers.sleep(1);
          const remaining = limitOf(rule) - before - count;
          if (remaining < 0) return { allowed: false, retryAfterMs: 1, remaining: 0, delayMs: 0 };
          taken.set(key, before + count);
          return { allowed: true, retryAfterMs: 0, remaining, delayMs: 0 };
        },
      };
    },
  },
  {
    fault: "allows one more than the limit",
    caughtBy: "slidingLog: concurrent callers get all that is there, and no more",
    rates: (sound) => ({ decide: (key, rule, count) => sound.decide(key, withLimit(rule, limitOf(rule) + 1), count) }),
  },
  {
    fault: "counts in fixed windows where the log is exact",
    caughtBy: "slidingLog: whatever comes, its bound holds, and nothing is refused that may pass",
    rates: (sound) => ({ decide: (key, rule, count) => sound.decide(key, fixed(rule), count) }),
  },
  {
    fault: "counts in fixed windows where they should slide",
    caughtBy: "slidingWindow: whatever comes, its bound holds, and nothing is refused that may pass",
    rates: (sound) => ({ decide: (key, rule, count) => sound.decide(key, fixed(rule), count) }),
  },
  {
    fault: "forgets a part of the window too early",
    caughtBy: "slidingWindow: whatever comes, its bound holds, and nothing is refused that may pass",
    rates: (sound) => ({ decide: (key, rule, count) => sound.decide(key, withWindow(rule, 0.7), count) }),
  },
  ...(["fixedWindow", "slidingWindow", "slidingLog"] as const).map((type) => ({
    fault: `forgets too late what it counted: ${type}`,
    caughtBy: `${type}: whatever comes, its bound holds, and nothing is refused that may pass`,
    rates: (sound: RateEngine): Partial<RateEngine> => ({
      decide: (key, rule, count) => sound.decide(key, withWindow(rule, 3), count),
    }),
  })),
  ...(["leakyBucket", "tokenBucket"] as const).flatMap((type) =>
    [0.5, 2].map((factor) => ({
      fault: `a rate of ${factor} of what it should be: ${type}`,
      caughtBy: `${type}: whatever comes, its bound holds, and nothing is refused that may pass`,
      rates: (sound: RateEngine): Partial<RateEngine> => ({
        decide: (key, rule, count) => sound.decide(key, withRate(rule, factor), count),
      }),
    })),
  ),
  {
    fault: "begins with an empty bucket",
    caughtBy: "tokenBucket: a decision tells how many whole units are left",
    rates: (sound) => {
      const known = new Set<string>();
      return {
        async decide(key, rule, count) {
          if (!known.has(key) && rule.type === "tokenBucket") await sound.decide(key, rule, rule.burst);
          known.add(key);
          return sound.decide(key, rule, count);
        },
      };
    },
  },
  {
    fault: "takes something when it refuses",
    caughtBy: "leakyBucket: a decision tells how many whole units are left",
    rates: (sound) => ({
      async decide(key, rule, count) {
        const decision = await sound.decide(key, rule, count);
        if (!decision.allowed && decision.remaining > 0) await sound.decide(key, rule, 1);
        return decision;
      },
    }),
  },
  {
    fault: "always counts refusals",
    caughtBy: "refusals count where the rule says so, and only there",
    rates: (sound) => ({
      decide: (key, rule, count) => sound.decide(key, { ...rule, countRefusals: true } as RateRule, count),
    }),
  },
  {
    fault: "never counts refusals",
    caughtBy: "refusals count where the rule says so, and only there",
    rates: (sound) => ({
      decide: (key, rule, count) => sound.decide(key, { ...rule, countRefusals: false } as RateRule, count),
    }),
  },
  {
    fault: "lets in who keeps hammering",
    caughtBy: "who keeps hammering stays out, and gets in after a pause",
    rates: (sound) => ({
      decide: (key, rule, count) => sound.decide(key, { ...rule, countRefusals: false } as RateRule, count),
    }),
  },
  ...[0.5, 1.5].map((factor) => ({
    fault: `says ${factor} times after how long a request succeeds`,
    caughtBy: "slidingLog: a refusal says after how long the same request succeeds",
    rates: (sound: RateEngine): Partial<RateEngine> =>
      deciding(sound, (decision) => ({ ...decision, retryAfterMs: Math.ceil(decision.retryAfterMs * factor) })),
  })),
  {
    fault: "tells one unit too few",
    caughtBy: "tokenBucket: a decision tells how many whole units are left",
    rates: (sound) => deciding(sound, (decision) => ({ ...decision, remaining: Math.max(0, decision.remaining - 1) })),
  },
  {
    fault: "delays nobody",
    caughtBy: "a leaky bucket is left evenly, and its first unit at once",
    rates: (sound) => deciding(sound, (decision) => ({ ...decision, delayMs: 0 })),
  },
  {
    fault: "delays everybody",
    caughtBy: "only a leaky bucket delays",
    rates: (sound) => deciding(sound, (decision) => ({ ...decision, delayMs: decision.allowed ? 5 : 0 })),
  },
  {
    fault: "counts types of rules together",
    caughtBy: "rules of different types share nothing under the same key",
    rates: (sound) => ({ decide: (key, rule, count) => sound.decide(key, fixed(rule), count) }),
  },
  {
    fault: "counts keys together",
    caughtBy: "slidingWindow: keys share nothing, and reset forgets one of them",
    rates: (sound) => ({ decide: (key, rule, count) => sound.decide(key.slice(0, 3), rule, count) }),
  },
  {
    fault: "begins anew with every limit",
    caughtBy: "fixedWindow: when the limit changes, what was counted stays",
    rates: (sound) => ({ decide: (key, rule, count) => sound.decide(`${key} ${limitOf(rule)}`, rule, count) }),
  },
  {
    fault: "resets nothing",
    caughtBy: "slidingLog: keys share nothing, and reset forgets one of them",
    rates: () => ({ reset: async () => undefined }),
  },
  {
    fault: "gives a second permit to who asks again",
    caughtBy: "asking again under the same name takes no second permit",
    rates: (sound) => {
      let asked = 0;
      return { enter: (key, rule, permit) => sound.enter(key, rule, `${permit}-${asked++}`) };
    },
  },
  {
    fault: "does not begin a permit's time anew",
    caughtBy: "asking again starts holdMs anew",
    rates: (sound) => {
      const inside = new Set<string>();
      return {
        async enter(key, rule, permit) {
          if (inside.has(permit)) return { allowed: true, retryAfterMs: 0, remaining: 0, delayMs: 0 };
          const decision = await sound.enter(key, rule, permit);
          if (decision.allowed) inside.add(permit);
          return decision;
        },
      };
    },
  },
  ...[0.5, 1_000].map((factor) => ({
    fault: `ends a permit after ${factor} of its time`,
    caughtBy: "a permit that is not given back ends after holdMs, not before",
    rates: (sound: RateEngine): Partial<RateEngine> => ({
      enter: (key, rule, permit) => sound.enter(key, { ...rule, holdMs: rule.holdMs * factor }, permit),
    }),
  })),
  {
    fault: "takes any permit for the one that is given back",
    caughtBy: "giving back what one does not have is no error",
    rates: (sound) => ({ leave: (key, rule) => sound.reset(key, rule) }),
  },
  {
    fault: "lets in one more than the limit",
    caughtBy: "of many who come at once exactly the limit is let in",
    rates: (sound) => ({ enter: (key, rule, permit) => sound.enter(key, { ...rule, limit: rule.limit + 1 }, permit) }),
  },
  {
    fault: "rounds figures that make no sense",
    caughtBy: "rules with figures that make no sense are invalid",
    rates: (sound) => ({
      decide: (key, rule, count) => sound.decide(key, withLimit(rule, Math.ceil(limitOf(rule))), count),
    }),
  },
  {
    fault: "takes as much as there is of what it could never allow",
    caughtBy: "a count that the rule could never allow is invalid, and takes nothing",
    rates: (sound) => ({
      decide: (key, rule, count) => sound.decide(key, rule, count > limitOf(rule) ? limitOf(rule) : count),
    }),
  },
  {
    fault: "answers before it syncs",
    caughtBy: "what was counted survives a crash",
    world: forgetfulWorld,
  },
  {
    fault: "gives permits before it syncs",
    caughtBy: "permits are still held after a crash, and can be given back",
    world: forgetfulWorld,
  },
  { fault: "stays open", caughtBy: "after close everything is refused with `closed`", staysOpen: true },
];

describe("a fault in rates is found by its case", () => {
  for (const each of faults) test(each.fault, () => mustBeFound(canaryOf(each)));
});

function canaryOf(fault: Fault): Canary<RatesEngine> {
  const opening = (each: Fault) => async (world: World) =>
    broken(await embedded({ directory: "/data", world: each.world?.(world) ?? world }), each);
  const { caughtBy } = fault;
  return { cases: rateCases, caughtBy, sound: opening({ fault: "none", caughtBy }), broken: opening(fault) };
}

function broken(engine: RatesEngine, fault: Fault): RatesEngine {
  const { rates, world } = engine;
  return {
    world,
    rates: {
      capabilities: rates.capabilities,
      decide: (key, rule, count) => rates.decide(key, rule, count),
      enter: (key, rule, permit) => rates.enter(key, rule, permit),
      leave: (key, rule, permit) => rates.leave(key, rule, permit),
      reset: (key, rule) => rates.reset(key, rule),
      ...fault.rates?.(rates, world),
    },
    close: async () => {
      if (!fault.staysOpen) await engine.close();
    },
  };
}

function deciding(sound: RateEngine, change: (decision: RateDecision) => RateDecision): Partial<RateEngine> {
  return { decide: async (key, rule, count) => change(await sound.decide(key, rule, count)) };
}

function limitOf(rule: RateRule): number {
  if (rule.type === "tokenBucket") return rule.burst;
  return rule.type === "leakyBucket" ? rule.queueMax + 1 : rule.limit;
}

function withLimit(rule: RateRule, limit: number): RateRule {
  if (rule.type === "tokenBucket") return { ...rule, burst: limit };
  return rule.type === "leakyBucket" ? { ...rule, queueMax: limit - 1 } : { ...rule, limit };
}

function withWindow(rule: RateRule, factor: number): RateRule {
  return "windowMs" in rule ? { ...rule, windowMs: rule.windowMs * factor } : rule;
}

function withRate(rule: RateRule, factor: number): RateRule {
  return "ratePerSecond" in rule ? { ...rule, ratePerSecond: rule.ratePerSecond * factor } : rule;
}

function fixed(rule: RateRule): RateRule {
  return "windowMs" in rule ? { type: "fixedWindow", limit: rule.limit, windowMs: rule.windowMs } : rule;
}
