import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { systemWorld, type World } from "../world/index.ts";
import { tokenBucket, tokenBuckets } from "./index.ts";

/** A world whose monotonic time a test moves; sleepers wake in order of their instants. */
class HandTime {
  nowMs = 0;
  readonly #sleepers = new Set<{ readonly at: number; readonly wake: () => void }>();
  readonly world: World = {
    ...systemWorld(),
    clock: { now: () => this.nowMs, monotonic: () => this.nowMs },
    timers: { schedule: () => () => {}, sleep: (ms, options) => this.#sleep(ms, options?.signal) },
  };

  get sleeperCount(): number {
    return this.#sleepers.size;
  }

  #sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = { at: this.nowMs + ms, wake: resolve };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", () => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      });
    });
  }

  async advance(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    for (;;) {
      await turns();
      const next = [...this.#sleepers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.nowMs = Math.max(this.nowMs, next.at);
      this.#sleepers.delete(next);
      next.wake();
    }
    this.nowMs = end;
    await turns();
  }
}

/** Lets everything that is ready happen. */
function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const rates = fc.oneof(fc.integer({ min: 1, max: 5_000 }), fc.double({ min: 0.01, max: 5_000, noNaN: true }));
const steps = fc.array(
  fc.record({ stepMs: fc.double({ min: 0, max: 500, noNaN: true }), count: fc.integer({ min: 1, max: 10 }) }),
  { maxLength: 60 },
);

function assertWithinEveryWindow(
  taken: readonly { readonly at: number; readonly count: number }[],
  ratePerSecond: number,
  burst: number,
): void {
  for (let first = 0; first < taken.length; first++) {
    let sum = 0;
    for (let last = first; last < taken.length; last++) {
      sum += taken[last]!.count;
      const limit = burst + (ratePerSecond * (taken[last]!.at - taken[first]!.at)) / 1_000;
      assert.ok(sum <= limit + 1e-6, `${sum} were taken where ${limit} were allowed`);
    }
  }
}

test("no window ever sees more than burst plus rate times its length", () => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 10, max: 50 }), steps, (ratePerSecond, burst, moves) => {
      const time = new HandTime();
      const bucket = tokenBucket({ ratePerSecond, burst, world: time.world });
      const taken: { at: number; count: number }[] = [];
      for (const { stepMs, count } of moves) {
        time.nowMs += stepMs;
        if (bucket.tryTake(count).allowed) taken.push({ at: time.nowMs, count });
      }
      assertWithinEveryWindow(taken, ratePerSecond, burst);
    }),
  );
});

test("what is taken by waiting stays within every window too, and nobody waits for ever", async () => {
  await fc.assert(
    fc.asyncProperty(rates, fc.integer({ min: 10, max: 20 }), steps, async (ratePerSecond, burst, moves) => {
      const time = new HandTime();
      const bucket = tokenBucket({ ratePerSecond, burst, world: time.world });
      const taken: { at: number; count: number; order: number }[] = [];
      let order = 0;
      for (const { stepMs, count } of moves) {
        const mine = order++;
        void bucket
          .take(count, { waitMs: Number.POSITIVE_INFINITY })
          .then(() => taken.push({ at: time.nowMs, count, order: mine }));
        await time.advance(Math.floor(stepMs));
      }
      await time.advance(1e9);
      assert.deepEqual(
        taken.map((entry) => entry.order),
        moves.map((_, index) => index),
      );
      assertWithinEveryWindow(taken, ratePerSecond, burst);
    }),
    { numRuns: 30 },
  );
});

test("a steady caller gets the full rate", () => {
  const time = new HandTime();
  const bucket = tokenBucket({ ratePerSecond: 300, burst: 10, world: time.world });
  let taken = 0;
  for (; time.nowMs < 100_000; time.nowMs += 0.7) if (bucket.tryTake().allowed) taken++;
  assert.ok(taken >= 30_000, `${taken} were taken in 100 s`);
});

test("those who wait get the full rate, also with a burst of one", async () => {
  const time = new HandTime();
  const bucket = tokenBucket({ ratePerSecond: 1_000, burst: 1, world: time.world });
  let taken = 0;
  for (let waiting = 0; waiting < 1_000; waiting++) void bucket.take().then(() => taken++);
  await time.advance(999);
  assert.equal(taken, 1_000);
});

test("a refusal says after how long the same request succeeds", () => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 1, max: 50 }), steps, (ratePerSecond, burst, moves) => {
      const time = new HandTime();
      const bucket = tokenBucket({ ratePerSecond, burst, world: time.world });
      for (const { stepMs, count } of moves) {
        const wanted = Math.min(count, burst);
        const decision = bucket.tryTake(wanted);
        if (!decision.allowed) {
          assert.ok(decision.retryAfterMs >= 1);
          time.nowMs += decision.retryAfterMs;
          assert.equal(bucket.tryTake(wanted).allowed, true);
        }
        time.nowMs += stepMs;
      }
    }),
  );
});

test("a decision tells what is left", () => {
  const time = new HandTime();
  const bucket = tokenBucket({ ratePerSecond: 10, burst: 5, world: time.world });
  assert.deepEqual(bucket.tryTake(3), { allowed: true, retryAfterMs: 0, remaining: 2 });
  assert.deepEqual(bucket.tryTake(3), { allowed: false, retryAfterMs: 100, remaining: 2 });
});

test("nobody overtakes those who wait", async () => {
  const time = new HandTime();
  const bucket = tokenBucket({ ratePerSecond: 10, burst: 5, world: time.world });
  bucket.tryTake(5);
  const served: string[] = [];
  void bucket.take(5).then(() => served.push("large"));
  void bucket.take(1).then(() => served.push("small"));
  await time.advance(400);
  assert.deepEqual(bucket.tryTake(1), { allowed: false, retryAfterMs: 300, remaining: 0 });
  assert.deepEqual(served, []);
  await time.advance(100);
  assert.deepEqual(served, ["large"]);
  await time.advance(100);
  assert.deepEqual(served, ["large", "small"]);
  await time.advance(100);
  assert.equal(bucket.tryTake(1).allowed, true);
});

test("one who leaves makes room at once, and nothing sleeps when nobody waits", async () => {
  const time = new HandTime();
  const bucket = tokenBucket({ ratePerSecond: 10, burst: 5, world: time.world });
  bucket.tryTake(5);
  const leaving = new AbortController();
  const large = bucket.take(5, { signal: leaving.signal });
  const small = bucket.take(1);
  await time.advance(200);
  leaving.abort(new Error("went home"));
  await assert.rejects(large, /went home/);
  await small;
  assert.equal(time.nowMs, 200);
  await turns();
  assert.equal(time.sleeperCount, 0);
  assert.equal(bucket.tryTake(1).allowed, true);
  await assert.rejects(bucket.take(1, { signal: leaving.signal }), /went home/);
});

test("a wait that is known to be too long is refused at once", async () => {
  const time = new HandTime();
  const bucket = tokenBucket({ ratePerSecond: 10, burst: 5, world: time.world });
  bucket.tryTake(5);
  const first = bucket.take(5, { waitMs: 500 });
  await assert.rejects(bucket.take(1, { waitMs: 599 }), {
    code: "overloaded",
    fields: { count: 1, retryAfterMs: 600, waitMs: 599 },
  });
  await assert.rejects(bucket.take(1, { waitMs: 0 }), { code: "overloaded" });
  await time.advance(500);
  await first;
});

test("wrong figures are invalid", async () => {
  for (const ratePerSecond of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => tokenBucket({ ratePerSecond, burst: 1 }), { code: "invalid" });
  }
  for (const burst of [0, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
    assert.throws(() => tokenBucket({ ratePerSecond: 1, burst }), { code: "invalid" });
  const bucket = tokenBucket({ ratePerSecond: 1, burst: 5 });
  for (const count of [0, -1, Number.NaN, 6]) {
    assert.throws(() => bucket.tryTake(count), { code: "invalid" });
    await assert.rejects(bucket.take(count), { code: "invalid" });
    assert.throws(() => tokenBuckets({ ratePerSecond: 1, burst: 5 }).tryTake("a", count), { code: "invalid" });
  }
  assert.throws(() => tokenBuckets({ ratePerSecond: 1, burst: 5, keysMax: 1 }), { code: "invalid" });
});

test("keys have buckets of their own", () => {
  const time = new HandTime();
  const buckets = tokenBuckets({ ratePerSecond: 1, burst: 2, world: time.world });
  assert.equal(buckets.tryTake("a", 2).allowed, true);
  assert.equal(buckets.tryTake("a").allowed, false);
  assert.equal(buckets.tryTake("b").allowed, true);
  time.nowMs += 1_000;
  assert.equal(buckets.tryTake("a").allowed, true);
});

test("keyed buckets stay within keysMax, and a key is remembered while fewer than half as many others come", () => {
  const time = new HandTime();
  const buckets = tokenBuckets({ ratePerSecond: 1, burst: 1, keysMax: 100, world: time.world });
  for (let round = 0; round < 50; round++) {
    for (let other = 0; other < 37; other++) buckets.tryTake(`earlier-${round}-${other}`);
    const key = `spender-${round}`;
    assert.equal(buckets.tryTake(key).allowed, true);
    for (let other = 0; other < 49; other++) buckets.tryTake(`other-${round}-${other}`);
    assert.equal(buckets.tryTake(key).allowed, false);
    assert.ok(buckets.size <= 100);
  }
});

test("a key that moves between generations is counted once", () => {
  const buckets = tokenBuckets({ ratePerSecond: 1, burst: 1, keysMax: 4, world: new HandTime().world });
  for (const key of ["a", "b", "c", "a"]) buckets.tryTake(key);
  assert.equal(buckets.size, 3);
});
