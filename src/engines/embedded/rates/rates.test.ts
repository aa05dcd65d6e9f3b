import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { RateDecision, RateEngine, RateRule } from "../../../contracts/rates.ts";
import { simulatedWorld } from "../../../simulation/index.ts";
import type { JournaledEngine } from "../embedded-engine.ts";
import { opened, reopened, segments } from "../fixtures.test.ts";
import { memory } from "../index.ts";

const eventsMax = 2_000_000;
const start = Date.UTC(2026, 0, 1);

/** What the rules mean, told by remembering everything. */
class Remembering {
  readonly #rule: RateRule;
  readonly #taken: { readonly at: number; readonly units: number }[] = [];

  constructor(rule: RateRule) {
    this.#rule = rule;
  }

  decide(now: number, count: number): boolean {
    const rule = this.#rule;
    if (rule.type === "leakyBucket" || rule.type === "tokenBucket") throw new Error("it has no window");
    const fits = this.#counted(now) + count <= rule.limit;
    if (fits || rule.countRefusals === true) this.#taken.push({ at: now, units: count });
    return fits;
  }

  #counted(now: number): number {
    const rule = this.#rule as Extract<RateRule, { windowMs: number }>;
    const { windowMs } = rule;
    const counts = (at: number) => {
      if (rule.type === "fixedWindow") return Math.floor(at / windowMs) === Math.floor(now / windowMs);
      if (rule.type === "slidingLog") return now - at < windowMs;
      const part = (instant: number) => Math.floor((instant * rule.cells) / windowMs);
      return part(now) - part(at) <= rule.cells;
    };
    return this.#taken.reduce((sum, { at, units }) => (counts(at) ? sum + units : sum), 0);
  }
}

const windowed: fc.Arbitrary<RateRule> = fc
  .record({
    type: fc.constantFrom("fixedWindow" as const, "slidingWindow" as const, "slidingLog" as const),
    limit: fc.integer({ min: 1, max: 90 }),
    windowMs: fc.integer({ min: 1, max: 300 }),
    cells: fc.integer({ min: 2, max: 12 }),
    countRefusals: fc.boolean(),
  })
  .map(
    ({ cells, ...rule }) => (rule.type === "slidingWindow" ? { ...rule, type: rule.type, cells } : rule) as RateRule,
  );
const steps = fc.array(
  fc.record({ stepMs: fc.constantFrom(0, 0, 1, 2, 7, 50, 400), count: fc.constantFrom(1, 1, 1, 2, 30) }),
  { maxLength: 250, minLength: 50 },
);

test("windows and logs decide as if everything were remembered, also over segments that are sealed and cleaned", async () => {
  await fc.assert(
    fc.asyncProperty(windowed, steps, async (rule, moves) => {
      const simulation = simulatedWorld({ seed: 1, eventsMax });
      await simulation.run(async () => {
        const { clock, timers } = simulation.world;
        const engine = await opened(simulation);
        const model = new Remembering(rule);
        const limit = (rule as { limit: number }).limit;
        for (const { stepMs, count } of moves) {
          if (stepMs > 0) await timers.sleep(stepMs);
          const units = Math.min(count, limit);
          const now = clock.now();
          const deciding = engine.rates.decide("key", rule, units);
          assert.equal((await deciding).allowed, model.decide(Math.floor(now), units));
        }
        await engine.close();
      });
    }),
    { numRuns: 25 },
  );
});

test("a log that counts refusals decides as if everything were remembered, over many blocks", async () => {
  const stepMs = fc.oneof(
    { arbitrary: fc.constantFrom(1, 1, 1, 2), weight: 60 },
    { arbitrary: fc.constant(90), weight: 1 },
  );
  const stretches = fc.array(stepMs, { minLength: 200, maxLength: 300 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 30, max: 80 }), stretches, async (limit, stepsMs) => {
      const rule = { type: "slidingLog", limit, windowMs: 100, countRefusals: true } as const;
      const simulation = simulatedWorld({ seed: 1, eventsMax });
      await simulation.run(async () => {
        const { clock, timers } = simulation.world;
        const engine = await memory({ world: simulation.world });
        const model = new Remembering(rule);
        for (const stepMs of stepsMs) {
          await timers.sleep(stepMs);
          const now = Math.floor(clock.now());
          const { allowed } = await engine.rates.decide("key", rule, 1);
          assert.equal(allowed, model.decide(now, 1));
        }
        await engine.close();
      });
    }),
    { numRuns: 10 },
  );
});

test("who hammers a log that counts refusals takes no more room than its limit", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const { timers } = simulation.world;
    const engine = (await memory({ world: simulation.world })) as JournaledEngine;
    const rule = { type: "slidingLog", limit: 100, windowMs: 3_600_000, countRefusals: true } as const;
    for (let round = 0; round < 500; round++) {
      await engine.rates.decide("key", rule, 1);
      await timers.sleep(1);
    }
    assert.ok(engine.stateCount <= 6, `${engine.stateCount} entries`);
    await engine.close();
  });
});

test("a long sliding log writes little per decision, and forgets its blocks", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const rule = { type: "slidingLog", limit: 5_000, windowMs: 10_000 } as const;
    let engine = await opened(simulation, { segmentBytes: 64 * 1024 * 1024 });
    for (let round = 0; round < 3_000; round++) {
      assert.equal((await engine.rates.decide("key", rule, 1)).remaining, 4_999 - round);
      await simulation.world.timers.sleep(1);
    }
    assert.ok(engine.sizeBytes < 3_000 * 900, `${engine.sizeBytes / 3_000} bytes per decision`);
    engine = await reopened(simulation, { segmentBytes: 64 * 1024 * 1024 });
    assert.equal((await engine.rates.decide("key", rule, 1)).remaining, 1_999);
    await simulation.world.timers.sleep(12_000);
    assert.equal((await engine.rates.decide("key", rule, 1)).remaining, 4_999);
    assert.equal(engine.stateCount, 1);
    await simulation.world.timers.sleep(12_000);
    assert.equal(engine.stateCount, 0);
    await engine.close();
  });
});

test("unused keys vanish from memory and, with their segments, from the disk", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const { timers } = simulation.world;
    const engine = await opened(simulation);
    const rules: RateRule[] = [
      { type: "fixedWindow", limit: 5, windowMs: 500 },
      { type: "slidingWindow", limit: 5, windowMs: 500, cells: 10 },
      { type: "slidingLog", limit: 5, windowMs: 500 },
      { type: "leakyBucket", ratePerSecond: 10, queueMax: 5 },
      { type: "tokenBucket", ratePerSecond: 10, burst: 5 },
    ];
    for (let key = 0; key < 100; key++) {
      for (const rule of rules) await engine.rates.decide(`key ${key}`, rule, 1);
      await engine.rates.enter(`key ${key}`, { type: "concurrency", limit: 2, holdMs: 500 }, "permit");
    }
    await timers.sleep(3_000);
    assert.equal(engine.stateCount, 0);
    await engine.cleaner.clean();
    assert.ok((await segments(simulation)).length <= 2);
    await engine.close();
  });
});

/** A memory engine whose wall clock a test sets. */
async function withClock(work: (clock: { now: number }, engine: Awaited<ReturnType<typeof memory>>) => Promise<void>) {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const set = { now: start };
    const world = { ...simulation.world };
    const clock = { now: () => set.now, monotonic: () => simulation.world.clock.monotonic() };
    const engine = await memory({ world: { ...world, clock } });
    await work(set, engine);
    await engine.close();
  });
}

test("a clock that is set back keeps nobody out for longer than the rule's own time, and lets nobody in twice", async () => {
  const rules: readonly (readonly [rule: RateRule, most: number, freeMs: number])[] = [
    [{ type: "fixedWindow", limit: 5, windowMs: 1_000 }, 5, 1_000],
    [{ type: "slidingWindow", limit: 5, windowMs: 1_000, cells: 10 }, 5, 1_100],
    [{ type: "slidingLog", limit: 5, windowMs: 1_000 }, 5, 1_000],
    [{ type: "leakyBucket", ratePerSecond: 5, queueMax: 4 }, 5, 1_000],
    [{ type: "tokenBucket", ratePerSecond: 5, burst: 5 }, 5, 1_000],
  ];
  for (const [rule, most, freeMs] of rules) {
    await withClock(async (clock, engine) => {
      const taken = async () => {
        let count = 0;
        while ((await engine.rates.decide("key", rule, 1)).allowed) count += 1;
        return count;
      };
      assert.equal(await taken(), most, rule.type);
      clock.now -= 3_600_000;
      assert.equal(await taken(), 0, `${rule.type} lets more in`);
      clock.now += freeMs;
      assert.equal(await taken(), most, `${rule.type} keeps them out`);
    });
  }
});

test("a permit ends in time although the clock was set back", async () => {
  await withClock(async (clock, engine) => {
    const rule = { type: "concurrency", limit: 1, holdMs: 1_000 } as const;
    assert.equal((await engine.rates.enter("key", rule, "a")).allowed, true);
    clock.now -= 3_600_000;
    const { allowed, retryAfterMs } = await engine.rates.enter("key", rule, "b");
    assert.deepEqual([allowed, retryAfterMs], [false, 1_000]);
    clock.now += 1_000;
    assert.equal((await engine.rates.enter("key", rule, "b")).allowed, true);
  });
});

test("where a clock that was set back has been noticed, a restart keeps nobody out for longer", async () => {
  const rules: readonly RateRule[] = [
    { type: "fixedWindow", limit: 1, windowMs: 1_000 },
    { type: "slidingWindow", limit: 1, windowMs: 1_000, cells: 10 },
    { type: "slidingLog", limit: 1, windowMs: 1_000 },
    { type: "leakyBucket", ratePerSecond: 1, queueMax: 0 },
    { type: "tokenBucket", ratePerSecond: 1, burst: 1 },
  ];
  const asks: readonly (readonly [what: string, ask: (rates: RateEngine, name: string) => Promise<RateDecision>])[] = [
    ...rules.map((rule) => [rule.type, (rates: RateEngine) => rates.decide("key", rule, 1)] as const),
    ["concurrency", (rates, name) => rates.enter("key", { type: "concurrency", limit: 1, holdMs: 1_000 }, name)],
  ];
  for (const [what, ask] of asks) {
    const simulation = simulatedWorld({ seed: 4, eventsMax });
    await simulation.run(async () => {
      let engine = await opened(simulation);
      assert.equal((await ask(engine.rates, "a")).allowed, true, what);
      simulation.stepClock(-3_600_000);
      // Nobody is told of a refusal before it is durable that the clock was noticed.
      const refusals = [ask(engine.rates, "b"), ask(engine.rates, "c")];
      assert.equal((await refusals[1]!).allowed, false, what);
      engine = await reopened(simulation);
      await simulation.world.timers.sleep(1_200);
      assert.equal((await ask(engine.rates, "b")).allowed, true, `${what} keeps them out`);
      await engine.close();
    });
  }
});

test("a permit that has ended does not come back when the clock is set back before a restart", async () => {
  const simulation = simulatedWorld({ seed: 4, eventsMax });
  await simulation.run(async () => {
    const rule = { type: "concurrency", limit: 1, holdMs: 500 } as const;
    let engine = await opened(simulation);
    await engine.rates.enter("key", rule, "a");
    await simulation.world.timers.sleep(3_000);
    assert.equal(engine.stateCount, 0);
    await engine.rates.enter("another key", rule, "a");
    simulation.stepClock(-3_600_000);
    engine = await reopened(simulation);
    assert.equal((await engine.rates.enter("key", rule, "b")).allowed, true);
    await engine.close();
  });
});

test("what was decided survives the machine's crash", async () => {
  const simulation = simulatedWorld({ seed: 4, eventsMax });
  await simulation.run(async () => {
    const rules: RateRule[] = [
      { type: "fixedWindow", limit: 50, windowMs: 3_600_000 },
      { type: "slidingWindow", limit: 50, windowMs: 3_600_000, cells: 10 },
      { type: "slidingLog", limit: 50, windowMs: 3_600_000 },
      { type: "leakyBucket", ratePerSecond: 0.001, queueMax: 49 },
      { type: "tokenBucket", ratePerSecond: 0.001, burst: 50 },
    ];
    let engine = await opened(simulation);
    for (let round = 1; round <= 50; round++) {
      const decisions: RateDecision[] = await Promise.all(rules.map((rule) => engine.rates.decide("key", rule, 1)));
      for (const { remaining } of decisions) assert.equal(remaining, 50 - round);
      if (round % 7 === 0) engine = await reopened(simulation);
    }
    await engine.close();
  });
});
