import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { HandTime, turns } from "./fixtures.test.ts";
import { type LocalPermit, localConcurrencyLimiter } from "./index.ts";

function made(limit: number, holdMs = 1_000) {
  const time = new HandTime();
  return { limiter: localConcurrencyLimiter({ type: "concurrency", limit, holdMs }, { world: time.world }), time };
}

test("as many as the limit are in at a time, whatever the order of coming, going, waiting and ending", async () => {
  const moves = fc.array(
    fc.oneof(
      fc.record({ type: fc.constant("try" as const) }),
      fc.record({ type: fc.constant("wait" as const), waitMs: fc.integer({ min: 0, max: 3_000 }) }),
      fc.record({ type: fc.constant("release" as const), which: fc.nat() }),
      fc.record({ type: fc.constant("renew" as const), which: fc.nat() }),
      fc.record({ type: fc.constant("advance" as const), ms: fc.integer({ min: 0, max: 1_500 }) }),
    ),
    { maxLength: 60, size: "max" },
  );
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 4 }), moves, async (limit, sequence) => {
      const { limiter, time } = made(limit);
      const inside = new Map<LocalPermit, number>();
      let pending = 0;
      const entered = (permit: LocalPermit) => {
        for (const [other, endsAt] of inside) if (endsAt <= time.nowMs) inside.delete(other);
        inside.set(permit, time.nowMs + 1_000);
        assert.ok(inside.size <= limit, `${inside.size} are in`);
      };
      const pick = (which: number) => [...inside.keys()][which % Math.max(1, inside.size)];
      for (const move of sequence) {
        if (move.type === "try") {
          const permit = limiter.tryEnter();
          if (permit.allowed) entered(permit);
        } else if (move.type === "wait") {
          pending++;
          void limiter
            .enter("", { waitMs: move.waitMs })
            .then(entered, (error) => assert.equal(error.code, "overloaded"))
            .finally(() => pending--);
        } else if (move.type === "advance") await time.advance(move.ms);
        else {
          const permit = pick(move.which);
          if (permit === undefined) continue;
          if (move.type === "release") {
            inside.delete(permit);
            permit.release();
          } else if (permit.renew()) {
            assert.ok(inside.get(permit)! > time.nowMs);
            inside.set(permit, time.nowMs + 1_000);
          } else assert.ok(inside.get(permit)! <= time.nowMs);
          await turns();
        }
      }
      await time.advance(200_000);
      assert.equal(pending, 0);
      assert.equal(time.sleeperCount, 0);
    }),
    { numRuns: 60 },
  );
});

test("a permit is given back by using it up, and a refusal says when the first one ends", () => {
  const { limiter, time } = made(1);
  {
    using permit = limiter.tryEnter();
    assert.deepEqual([permit.allowed, permit.remaining], [true, 0]);
    time.nowMs = 300;
    using refusal = limiter.tryEnter();
    assert.deepEqual([refusal.allowed, refusal.retryAfterMs, refusal.remaining], [false, 700, 0]);
  }
  assert.equal(limiter.tryEnter().allowed, true);
});

test("those who wait enter in their order, and nobody overtakes them", async () => {
  const { limiter, time } = made(1);
  const first = limiter.tryEnter();
  const order: string[] = [];
  const permits: LocalPermit[] = [];
  for (const name of ["a", "b"]) {
    void limiter.enter().then((permit) => {
      order.push(name);
      permits.push(permit);
    });
  }
  await turns();
  first.release();
  assert.equal(limiter.tryEnter().allowed, false);
  await turns();
  assert.deepEqual(order, ["a"]);
  permits[0]!.release();
  permits[0]!.release();
  await turns();
  assert.deepEqual(order, ["a", "b"]);
  assert.equal(limiter.tryEnter().allowed, false);
  assert.equal(time.sleeperCount, 0);
});

test("a permit that is not given back ends, and makes room for one who waits", async () => {
  const { limiter, time } = made(1);
  const lost = limiter.tryEnter();
  const waiting = limiter.enter();
  await time.advance(1_000);
  assert.equal((await waiting).allowed, true);
  assert.equal(lost.renew(), false);
  lost.release();
  assert.equal(limiter.tryEnter().allowed, false);
});

test("a place that has just become free is the first waiter's, also before its timer fires", async () => {
  const { limiter, time } = made(1);
  limiter.tryEnter();
  const waiting = limiter.enter();
  await turns();
  time.nowMs += 1_000;
  assert.equal(limiter.tryEnter().allowed, false);
  await time.advance(0);
  assert.equal((await waiting).allowed, true);
});

test("waiting ends after waitMs, or with the signal, and leaves nothing behind", async () => {
  const { limiter, time } = made(1, 60_000);
  const held = limiter.tryEnter();
  const leaving = new AbortController();
  const left = limiter.enter("", { signal: leaving.signal, waitMs: Number.POSITIVE_INFINITY });
  const short = limiter.enter("", { waitMs: 100 });
  const shorter = limiter.enter("", { waitMs: 50 });
  const outcomes: string[] = [];
  void short.catch((error) => outcomes.push(`short ${error.code} ${time.nowMs}`));
  void shorter.catch((error) => outcomes.push(`shorter ${error.code} ${time.nowMs}`));
  await assert.rejects(limiter.enter("", { waitMs: 0 }), { code: "overloaded" });
  await time.advance(200);
  assert.deepEqual(outcomes, ["shorter overloaded 50", "short overloaded 100"]);
  leaving.abort(new Error("went home"));
  await assert.rejects(left, /went home/);
  await turns();
  assert.equal(time.sleeperCount, 0);
  held.release();
  assert.equal(limiter.tryEnter().allowed, true);
});

test("keys are counted apart, and wrong figures are invalid", async () => {
  const { limiter } = made(1);
  assert.equal(limiter.tryEnter("a").allowed, true);
  assert.equal(limiter.tryEnter("b").allowed, true);
  assert.equal(limiter.tryEnter("a").allowed, false);
  for (const figure of [0, 1.5, Number.NaN]) {
    assert.throws(() => localConcurrencyLimiter({ type: "concurrency", limit: figure, holdMs: 1 }), {
      code: "invalid",
    });
    assert.throws(() => localConcurrencyLimiter({ type: "concurrency", limit: 1, holdMs: figure }), {
      code: "invalid",
    });
  }
  await assert.rejects(limiter.enter("a", { waitMs: Number.NaN }), { code: "invalid" });
});
