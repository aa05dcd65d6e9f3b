import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HandTime, turns } from "./fixtures.test.ts";
import { type LocalLimiter, localLimiter, type RateRule } from "./index.ts";

const types = ["fixedWindow", "slidingWindow", "slidingLog", "leakyBucket", "tokenBucket"] as const;
type RateType = (typeof types)[number];

const windowMs = fc.integer({ min: 1, max: 2_000 });
const ratePerSecond = fc.oneof(fc.integer({ min: 1, max: 5_000 }), fc.double({ min: 0.01, max: 5_000, noNaN: true }));
const limit = fc.integer({ min: 10, max: 40 });
const rulesOf: Record<RateType, fc.Arbitrary<RateRule>> = {
  fixedWindow: fc.record({ type: fc.constant("fixedWindow"), limit, windowMs }),
  slidingWindow: fc.record({
    type: fc.constant("slidingWindow"),
    limit,
    windowMs,
    cells: fc.integer({ min: 2, max: 30 }),
  }),
  slidingLog: fc.record({ type: fc.constant("slidingLog"), limit, windowMs }),
  leakyBucket: fc.record({
    type: fc.constant("leakyBucket"),
    ratePerSecond,
    queueMax: fc.integer({ min: 9, max: 40 }),
  }),
  tokenBucket: fc.record({ type: fc.constant("tokenBucket"), ratePerSecond, burst: limit }),
};
const steps = fc.array(
  fc.record({ stepMs: fc.double({ min: 0, max: 500, noNaN: true }), count: fc.integer({ min: 1, max: 10 }) }),
  { maxLength: 60, size: "max" },
);

interface Taken {
  readonly at: number;
  readonly count: number;
}

/** What the rule promises of everything that was taken, looked at from outside. */
function assertBound(rule: RateRule, taken: readonly Taken[]): void {
  for (let first = 0; first < taken.length; first++) {
    let sum = 0;
    for (let last = first; last < taken.length; last++) {
      sum += taken[last]!.count;
      assert.ok(
        sum <= mostWithin(rule, taken[first]!, taken[last]!.at) + 1e-6,
        `${JSON.stringify(rule)} let ${sum} through from ${taken[first]!.at} to ${taken[last]!.at}`,
      );
    }
  }
}

function mostWithin(rule: RateRule, { at: from, count }: Taken, to: number): number {
  switch (rule.type) {
    case "tokenBucket":
      return rule.burst + (rule.ratePerSecond * (to - from)) / 1_000;
    case "leakyBucket":
      // What goes on after the first one leaves evenly.
      return count + (rule.ratePerSecond * (to - from)) / 1_000;
    case "fixedWindow":
      // As many as there are windows.
      return rule.limit * (Math.floor(to / rule.windowMs) - Math.floor(from / rule.windowMs) + 1);
    default:
      return to - from < rule.windowMs ? rule.limit : Number.POSITIVE_INFINITY;
  }
}

function made(rule: RateRule, time = new HandTime()): { readonly limiter: LocalLimiter; readonly time: HandTime } {
  return { limiter: localLimiter(rule, { world: time.world }), time };
}

for (const type of types) {
  test(`${type}: no sequence of requests gets more than the rule allows`, () => {
    fc.assert(
      fc.property(rulesOf[type], steps, (rule, moves) => {
        const { limiter, time } = made(rule);
        const taken: Taken[] = [];
        for (const { stepMs, count } of moves) {
          time.nowMs += stepMs;
          const { allowed, delayMs } = limiter.tryTake("", count);
          if (allowed) taken.push({ at: time.nowMs + delayMs, count });
        }
        assertBound(rule, taken);
      }),
    );
  });

  test(`${type}: after retryAfterMs, and not a millisecond before, the same request succeeds`, () => {
    fc.assert(
      fc.property(rulesOf[type], steps, (rule, moves) => {
        const { limiter, time } = made(rule);
        for (const { stepMs, count } of moves) {
          const decision = limiter.tryTake("", count);
          if (!decision.allowed) {
            assert.ok(Number.isInteger(decision.retryAfterMs) && decision.retryAfterMs >= 1);
            const start = time.nowMs;
            if (decision.retryAfterMs > 1) {
              time.nowMs = start + decision.retryAfterMs - 1.001;
              assert.equal(limiter.tryTake("", count).allowed, false);
            }
            time.nowMs = start + decision.retryAfterMs;
            assert.equal(limiter.tryTake("", count).allowed, true);
          }
          time.nowMs += stepMs;
        }
      }),
    );
  });

  test(`${type}: remaining is exactly what can still be taken now`, () => {
    fc.assert(
      fc.property(rulesOf[type], steps, (rule, moves) => {
        const { limiter, time } = made(rule);
        for (const { stepMs, count } of moves) {
          time.nowMs += stepMs;
          const { remaining } = limiter.tryTake("", count);
          for (let unit = 0; unit < remaining; unit++) assert.equal(limiter.tryTake().allowed, true);
          assert.equal(limiter.tryTake().allowed, false);
        }
      }),
      { numRuns: 50 },
    );
  });

  test(`${type}: those who wait go on in the order in which they came, within the bound, and nobody waits for ever`, async () => {
    await fc.assert(
      fc.asyncProperty(rulesOf[type], steps, async (rule, moves) => {
        const { limiter, time } = made(rule);
        const taken: (Taken & { readonly order: number })[] = [];
        let refused = 0;
        for (const [order, { stepMs, count }] of moves.entries()) {
          void limiter.take("", { count, waitMs: Number.POSITIVE_INFINITY }).then(
            () => taken.push({ at: time.nowMs, count, order }),
            () => refused++,
          );
          await time.advance(Math.floor(stepMs));
        }
        await time.advance(1e9);
        // Only a leaky bucket's queue can be full.
        if (type !== "leakyBucket") assert.equal(refused, 0);
        assert.equal(taken.length + refused, moves.length);
        assert.deepEqual(
          taken.map(({ order }) => order),
          taken.map(({ order }) => order).toSorted((a, b) => a - b),
        );
        assertBound(rule, taken);
        assert.equal(time.sleeperCount, 0);
      }),
      { numRuns: 25 },
    );
  });
}

test("a token bucket gives a steady caller the full rate", () => {
  const { limiter, time } = made({ type: "tokenBucket", ratePerSecond: 300, burst: 10 });
  let taken = 0;
  for (; time.nowMs < 100_000; time.nowMs += 0.7) if (limiter.tryTake().allowed) taken++;
  assert.ok(taken >= 30_000, `${taken} were taken in 100 s`);
});

test("those who wait get a token bucket's full rate, also with a burst of one", async () => {
  const { limiter, time } = made({ type: "tokenBucket", ratePerSecond: 1_000, burst: 1 });
  let taken = 0;
  for (let waiting = 0; waiting < 1_000; waiting++) void limiter.take().then(() => taken++);
  await time.advance(999);
  assert.equal(taken, 1_000);
});

test("a fixed window lets twice the limit through around an edge, and not more", () => {
  const { limiter, time } = made({ type: "fixedWindow", limit: 3, windowMs: 1_000 });
  time.nowMs = 999;
  assert.deepEqual([limiter.tryTake("", 3).allowed, limiter.tryTake().allowed], [true, false]);
  time.nowMs = 1_000;
  assert.deepEqual([limiter.tryTake("", 3).allowed, limiter.tryTake().allowed], [true, false]);
});

test("a sliding window counts a whole part until it lies outside", () => {
  const { limiter, time } = made({ type: "slidingWindow", limit: 3, windowMs: 1_000, cells: 10 });
  time.nowMs = 50;
  limiter.tryTake("", 3);
  assert.deepEqual(limiter.tryTake(), { allowed: false, retryAfterMs: 1_050, remaining: 0, delayMs: 0 });
  time.nowMs = 1_099;
  assert.equal(limiter.tryTake().allowed, false);
  time.nowMs = 1_100;
  assert.equal(limiter.tryTake("", 3).allowed, true);
});

test("a sliding window's parts begin and end exactly, also where their length is no whole number", () => {
  for (let cells = 2; cells <= 40; cells++) {
    for (let windowMs = 530; windowMs < 560; windowMs++) {
      const { limiter, time } = made({ type: "slidingWindow", limit: 1, windowMs, cells });
      time.nowMs = (cells * 7_919 + windowMs * 104_729) % 10_000;
      const part = (time.nowMs * cells - ((time.nowMs * cells) % windowMs)) / windowMs;
      const outside = (part + cells + 1) * windowMs;
      const end = (outside + ((cells - (outside % cells)) % cells)) / cells;
      limiter.tryTake();
      assert.equal(limiter.tryTake().retryAfterMs, end - time.nowMs, `${cells} parts of ${windowMs} ms`);
      time.nowMs = end;
      assert.equal(limiter.tryTake().allowed, true);
    }
  }
});

test("a sliding log frees a unit exactly when it leaves the window", () => {
  const { limiter, time } = made({ type: "slidingLog", limit: 2, windowMs: 1_000 });
  limiter.tryTake();
  time.nowMs = 300;
  limiter.tryTake();
  assert.deepEqual(limiter.tryTake("", 2), { allowed: false, retryAfterMs: 1_000, remaining: 0, delayMs: 0 });
  assert.equal(limiter.tryTake().retryAfterMs, 700);
  time.nowMs = 1_000;
  assert.deepEqual(limiter.tryTake(), { allowed: true, retryAfterMs: 0, remaining: 0, delayMs: 0 });
});

test("a leaky bucket releases evenly, and refuses who finds its queue full", async () => {
  const { limiter, time } = made({ type: "leakyBucket", ratePerSecond: 10, queueMax: 2 });
  assert.deepEqual(limiter.tryTake(), { allowed: true, retryAfterMs: 0, remaining: 2, delayMs: 0 });
  assert.deepEqual(limiter.tryTake(), { allowed: true, retryAfterMs: 0, remaining: 1, delayMs: 100 });
  time.nowMs = 50;
  assert.deepEqual(limiter.tryTake(), { allowed: true, retryAfterMs: 0, remaining: 0, delayMs: 150 });
  assert.deepEqual(limiter.tryTake(), { allowed: false, retryAfterMs: 50, remaining: 0, delayMs: 0 });
  await assert.rejects(limiter.take(), { code: "overloaded", fields: { count: 1, retryAfterMs: 50, waitMs: 10_000 } });
  await time.advance(50);
  const released: number[] = [];
  void limiter.take().then(() => released.push(time.nowMs));
  await time.advance(1_000);
  assert.deepEqual(released, [300]);
});

test("a leaky bucket's caller that would wait too long takes no place in its queue", async () => {
  const { limiter, time } = made({ type: "leakyBucket", ratePerSecond: 10, queueMax: 5 });
  limiter.tryTake("", 3);
  await assert.rejects(limiter.take("", { waitMs: 299 }), {
    code: "overloaded",
    fields: { count: 1, retryAfterMs: 300, waitMs: 299 },
  });
  assert.equal(limiter.tryTake().delayMs, 300);
  assert.equal(time.sleeperCount, 0);
});

test("nobody overtakes those who wait", async () => {
  const { limiter, time } = made({ type: "tokenBucket", ratePerSecond: 10, burst: 5 });
  limiter.tryTake("", 5);
  const served: string[] = [];
  void limiter.take("", { count: 5 }).then(() => served.push("large"));
  void limiter.take().then(() => served.push("small"));
  await time.advance(400);
  assert.deepEqual(limiter.tryTake(), { allowed: false, retryAfterMs: 300, remaining: 0, delayMs: 0 });
  assert.deepEqual(served, []);
  await time.advance(100);
  assert.deepEqual(served, ["large"]);
  await time.advance(100);
  assert.deepEqual(served, ["large", "small"]);
  await time.advance(100);
  assert.equal(limiter.tryTake().allowed, true);
});

test("who waits for one key keeps nobody from another", async () => {
  const { limiter, time } = made({ type: "slidingLog", limit: 1, windowMs: 100 });
  limiter.tryTake("ann");
  void limiter.take("ann");
  assert.equal(limiter.tryTake("ann").retryAfterMs, 200);
  assert.equal(limiter.tryTake("bob").allowed, true);
  await time.advance(100);
  assert.equal(time.sleeperCount, 0);
});

test("one who leaves makes room at once, and nothing sleeps when nobody waits", async () => {
  const { limiter, time } = made({ type: "tokenBucket", ratePerSecond: 10, burst: 5 });
  limiter.tryTake("", 5);
  const leaving = new AbortController();
  const large = limiter.take("", { count: 5, signal: leaving.signal });
  const small = limiter.take();
  await time.advance(200);
  leaving.abort(new Error("went home"));
  await assert.rejects(large, /went home/);
  await small;
  assert.equal(time.nowMs, 200);
  await turns();
  assert.equal(time.sleeperCount, 0);
  assert.equal(limiter.tryTake().allowed, true);
  await assert.rejects(limiter.take("", { signal: leaving.signal }), /went home/);
});

test("the turns of those behind one who left are planned anew", async () => {
  const { limiter, time } = made({ type: "fixedWindow", limit: 2, windowMs: 100 });
  limiter.tryTake("", 2);
  const leaving = new AbortController();
  const left = limiter.take("", { count: 2, signal: leaving.signal });
  void limiter.take();
  assert.equal(limiter.tryTake("", 2).retryAfterMs, 300);
  leaving.abort();
  await assert.rejects(left);
  assert.equal(limiter.tryTake("", 2).retryAfterMs, 200);
  assert.equal(limiter.tryTake().retryAfterMs, 100);
  await time.advance(100);
});

test("late timers do not add up in what newcomers are told", async () => {
  const { limiter, time } = made({ type: "slidingLog", limit: 1, windowMs: 100 });
  time.latenessMs = 1;
  limiter.tryTake();
  for (let waiting = 0; waiting < 20; waiting++) void limiter.take();
  await time.advance(1_600);
  // Fifteen are through, the last at 1,515; five are to come before the next one.
  assert.equal(limiter.tryTake().retryAfterMs, 515);
  await time.advance(1_000);
});

test("a wait that is known to be too long is refused at once", async () => {
  const { limiter, time } = made({ type: "tokenBucket", ratePerSecond: 10, burst: 5 });
  limiter.tryTake("", 5);
  const first = limiter.take("", { count: 5, waitMs: 500 });
  await assert.rejects(limiter.take("", { waitMs: 599 }), {
    code: "overloaded",
    fields: { count: 1, retryAfterMs: 600, waitMs: 599 },
  });
  await assert.rejects(limiter.take("", { waitMs: 0 }), { code: "overloaded" });
  await time.advance(500);
  await first;
});

test("where refusals count, who keeps hammering stays out, and who stops comes in again", () => {
  for (const rule of [
    { type: "slidingWindow", limit: 2, windowMs: 1_000, cells: 10, countRefusals: true },
    { type: "slidingLog", limit: 2, windowMs: 1_000, countRefusals: true },
  ] as const) {
    const { limiter, time } = made(rule);
    limiter.tryTake("", 2);
    for (; time.nowMs < 10_000; time.nowMs += 450) assert.equal(limiter.tryTake().allowed, false);
    const { retryAfterMs } = limiter.tryTake();
    time.nowMs += retryAfterMs;
    assert.equal(limiter.tryTake().allowed, true);
  }
});

test("a refusal that counts in a fixed window uses up what is left of it", () => {
  const { limiter, time } = made({ type: "fixedWindow", limit: 5, windowMs: 1_000, countRefusals: true });
  limiter.tryTake("", 3);
  assert.deepEqual(limiter.tryTake("", 3), { allowed: false, retryAfterMs: 1_000, remaining: 0, delayMs: 0 });
  assert.equal(limiter.tryTake().allowed, false);
  time.nowMs = 1_000;
  assert.equal(limiter.tryTake("", 5).allowed, true);
});

test("retryAfterMs is true where refusals count", () => {
  const counting = fc.oneof(rulesOf.fixedWindow, rulesOf.slidingWindow, rulesOf.slidingLog) as fc.Arbitrary<
    Extract<RateRule, { type: "fixedWindow" | "slidingWindow" | "slidingLog" }>
  >;
  fc.assert(
    fc.property(counting, steps, (rule, moves) => {
      const { limiter, time } = made({ ...rule, countRefusals: true });
      for (const { stepMs, count } of moves) {
        const { allowed, retryAfterMs } = limiter.tryTake("", count);
        if (!allowed) {
          time.nowMs += retryAfterMs;
          assert.equal(limiter.tryTake("", count).allowed, true);
        }
        time.nowMs += stepMs;
      }
    }),
  );
});

test("resetting a key forgets what it took, and lets those go on who wait for it", async () => {
  const { limiter, time } = made({ type: "slidingLog", limit: 2, windowMs: 60_000 });
  limiter.tryTake("ann", 2);
  limiter.tryTake("bob", 2);
  const waiting = limiter.take("ann", { waitMs: 60_000 });
  limiter.reset("ann");
  await waiting;
  assert.equal(limiter.tryTake("ann").remaining, 0);
  assert.equal(limiter.tryTake("ann").allowed, false);
  assert.equal(limiter.tryTake("bob").allowed, false);
  await turns();
  assert.equal(time.sleeperCount, 0);
});

test("resetting the only key forgets what it took", () => {
  const { limiter } = made({ type: "slidingLog", limit: 1, windowMs: 60_000 });
  limiter.tryTake();
  limiter.reset();
  assert.deepEqual([limiter.tryTake().allowed, limiter.tryTake().allowed], [true, false]);
});

test("a leaky bucket's refused wait leaves nothing that a later request would be judged by", async () => {
  const time = new HandTime();
  const rule = { type: "leakyBucket", ratePerSecond: 1, queueMax: 0 } as const;
  const limiter = localLimiter(rule, { keysMax: 4, world: time.world });
  limiter.tryTake("ann");
  await assert.rejects(limiter.take("ann", { waitMs: 100 }), { code: "overloaded" });
  await time.advance(2_000);
  for (let other = 0; other < 20; other++) limiter.tryTake(`other-${other}`);
  assert.equal(limiter.tryTake("ann").allowed, true);
  await assert.rejects(limiter.take("ann", { waitMs: 100 }), { code: "overloaded" });
});

test("wrong figures are invalid", async () => {
  const wrong: unknown[] = [
    { type: "tokenBuckets", ratePerSecond: 1, burst: 1 },
    { type: "slidingWindow", limit: 1, windowMs: 1_000, cells: 1 },
    { type: "slidingWindow", limit: 1, windowMs: 1_000, cells: 1_001 },
    { type: "slidingLog", limit: 1_000_001, windowMs: 1_000 },
    { type: "leakyBucket", ratePerSecond: 1, queueMax: -1 },
    undefined,
    ...[0, 0.5, Number.NaN, Number.POSITIVE_INFINITY, "5"].flatMap((value) => [
      { type: "tokenBucket", ratePerSecond: 1, burst: value },
      { type: "fixedWindow", limit: value, windowMs: 1_000 },
      { type: "fixedWindow", limit: 1, windowMs: value },
    ]),
    ...[0, -1, Number.NaN, Number.POSITIVE_INFINITY, "5"].flatMap((value) => [
      { type: "tokenBucket", ratePerSecond: value, burst: 1 },
      { type: "leakyBucket", ratePerSecond: value, queueMax: 1 },
    ]),
  ];
  for (const rule of wrong) {
    assert.throws(() => localLimiter(rule as RateRule), { code: "invalid" }, JSON.stringify(rule));
  }
  const limiter = localLimiter({ type: "slidingLog", limit: 5, windowMs: 1_000 });
  for (const count of [0, -1, 1.5, Number.NaN, 6]) {
    assert.throws(() => limiter.tryTake("", count), { code: "invalid" });
    await assert.rejects(limiter.take("", { count }), { code: "invalid" });
  }
  await assert.rejects(limiter.take("", { waitMs: -1 }), { code: "invalid" });
  await assert.rejects(limiter.take("", { waitMs: "5" as unknown as number }), { code: "invalid" });
  assert.throws(() => limiter.tryTake(7 as unknown as string), { code: "invalid" });
  assert.throws(() => localLimiter({ type: "slidingLog", limit: 5, windowMs: 1_000 }, { keysMax: 1 }), {
    code: "invalid",
  });
  const counting = localLimiter({ type: "slidingLog", limit: 5, windowMs: 1_000, countRefusals: true });
  await assert.rejects(counting.take(), { code: "invalid" });
});

test("keys are counted apart", () => {
  const { limiter, time } = made({ type: "tokenBucket", ratePerSecond: 1, burst: 2 });
  assert.equal(limiter.tryTake("a", 2).allowed, true);
  assert.equal(limiter.tryTake("a").allowed, false);
  assert.equal(limiter.tryTake("b").allowed, true);
  time.nowMs += 1_000;
  assert.equal(limiter.tryTake("a").allowed, true);
});

test("keys stay within keysMax, and one is remembered while fewer than half as many others come", () => {
  const time = new HandTime();
  const limiter = localLimiter(
    { type: "tokenBucket", ratePerSecond: 1, burst: 1 },
    { keysMax: 100, world: time.world },
  );
  for (let round = 0; round < 50; round++) {
    for (let other = 0; other < 37; other++) limiter.tryTake(`earlier-${round}-${other}`);
    const key = `spender-${round}`;
    assert.equal(limiter.tryTake(key).allowed, true);
    for (let other = 0; other < 49; other++) limiter.tryTake(`other-${round}-${other}`);
    assert.equal(limiter.tryTake(key).allowed, false);
    assert.ok(limiter.size <= 100);
  }
});

test("a key that moves between generations is counted once", () => {
  const limiter = localLimiter(
    { type: "tokenBucket", ratePerSecond: 1, burst: 1 },
    { keysMax: 4, world: new HandTime().world },
  );
  for (const key of ["a", "b", "c", "a"]) limiter.tryTake(key);
  assert.equal(limiter.size, 3);
});

test("a key keeps what it took by waiting, however many others came meanwhile", async () => {
  const time = new HandTime();
  const limiter = localLimiter({ type: "slidingLog", limit: 1, windowMs: 1_000 }, { keysMax: 4, world: time.world });
  limiter.tryTake("ann");
  const waiting = limiter.take("ann");
  for (let other = 0; other < 20; other++) limiter.tryTake(`other-${other}`);
  await time.advance(1_000);
  await waiting;
  assert.equal(limiter.tryTake("ann").allowed, false);
});
