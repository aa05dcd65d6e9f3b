import assert from "node:assert/strict";
import { test } from "node:test";
import type { LeaseRequest } from "../contracts/leases.ts";
import { away, hangs, losesReplies, losesRequests, onDisk, onMemory } from "./fixtures.test.ts";
import { type Lock, mutex } from "./index.ts";

const lost = { code: "lost" };

test("one holds it at a time, in the order of asking, and tokens grow", () =>
  onMemory(async ({ engine, sleep }) => {
    const refunds = mutex(engine, "refunds");
    const order: number[] = [];
    let holders = 0;
    let last = 0n;
    await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        refunds.use(
          async (lock) => {
            assert.equal(++holders, 1);
            assert.ok(lock.token > last);
            last = lock.token;
            order.push(index);
            await sleep(40);
            holders -= 1;
          },
          { waitMs: 1_000 },
        ),
      ),
    );
    assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7]);
  }));

test("acquire rejects with timeout, tryAcquire answers undefined, and neither keeps a place in the queue", () =>
  onMemory(async ({ engine, world }) => {
    const refunds = mutex(engine, "refunds");
    await using _held = await refunds.acquire();
    assert.equal(await refunds.tryAcquire(), undefined);
    const before = world.clock.monotonic();
    await assert.rejects(refunds.acquire({ waitMs: 300 }), { code: "timeout", fields: { waitMs: 300 } });
    assert.equal(await refunds.tryAcquire({ waitMs: 200 }), undefined);
    assert.ok(Math.abs(world.clock.monotonic() - before - 500) < 20);
    const { holders, waiting } = await refunds.describe();
    assert.deepEqual([holders.length, waiting], [1, 0]);
  }));

test("a lock is renewed as long as it is held, and its signal stays quiet", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const lock = await mutex(engine, "refunds", { ttlMs: 900 }).acquire();
    for (let round = 0; round < 30; round++) {
      await sleep(300);
      assert.equal(await mutex(other, "refunds").tryAcquire(), undefined);
      assert.ok(lock.validMs >= 450, String(lock.validMs));
    }
    lock.check();
    assert.equal(lock.signal.aborted, false);
    await lock.release();
  }));

test("a lock that is not renewed is lost before the engine gives it to somebody else", () =>
  onMemory(async ({ engine, other, world, sleep }) => {
    const lock = await mutex(engine, "refunds").acquire({ ttlMs: 1_000, renew: false });
    const start = world.clock.monotonic();
    const lostAt = new Promise<number>((resolve) => {
      lock.signal.addEventListener("abort", () => resolve(world.clock.monotonic()));
    });
    const next = await mutex(other, "refunds").acquire();
    const passedAt = world.clock.monotonic();
    assert.ok(next.token > lock.token);
    const abortedAt = await lostAt;
    assert.ok(abortedAt - start >= 890 && abortedAt - start <= 901, `the margin is 100 ms: ${abortedAt - start}`);
    assert.ok(passedAt - start >= 1_000, "never early");
    assert.throws(() => lock.check(), lost);
    assert.equal(lock.signal.reason.code, "lost");
    assert.equal(lock.validMs, 0);
    // Releasing what is lost takes nothing from the next one.
    await lock.release();
    await sleep(10);
    next.check();
    assert.equal(await mutex(other, "refunds").tryAcquire(), undefined);
    await next.release();
  }));

for (const [fault, hook] of [
  ["failing", losesRequests],
  ["losing replies of", losesReplies],
] as const) {
  test(`an engine that keeps ${fault} renewals is asked again until the time to live is nearly over`, () =>
    onMemory(async ({ engine, faults, sleep }) => {
      const lock = await mutex(engine, "refunds", { ttlMs: 3_000 }).acquire();
      let asked = 0;
      const lose = hook<never>(4);
      faults.renew = (apply) => {
        asked += 1;
        return lose(apply as () => Promise<never>);
      };
      await sleep(2_500);
      lock.check();
      assert.ok(asked >= 5, String(asked));
      faults.renew = losesRequests();
      await sleep(3_000);
      assert.throws(() => lock.check(), lost);
      assert.equal(lock.signal.reason.code, "lost");
    }));
}

test("a renewal that never answers is sent again, and a late answer does not bring a lost lock back", () =>
  onMemory(async ({ engine, faults, sleep }) => {
    const lock = await mutex(engine, "refunds", { ttlMs: 3_000 }).acquire();
    faults.renew = hangs();
    await sleep(1_200);
    faults.renew = undefined;
    await sleep(3_000);
    lock.check();
    const late = Promise.withResolvers<void>();
    faults.renew = async (apply) => {
      const renewed = await apply();
      await late.promise;
      return renewed;
    };
    await sleep(3_500);
    assert.throws(() => lock.check(), lost);
    late.resolve();
    await sleep(10);
    assert.throws(() => lock.check(), lost);
    assert.equal(lock.validMs, 0);
    await lock.release();
  }));

test("what the engine says is lost is lost at once", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const lock = await mutex(engine, "refunds", { ttlMs: 900 }).acquire();
    const { holders } = await mutex(other, "refunds").describe();
    await other.leases.release("mutex/refunds", holders[0]!.holder);
    await sleep(320);
    assert.throws(() => lock.check(), lost);
  }));

test("setting the wall clock ahead ends a lock, as a machine that slept would have; setting it back prolongs nothing", () =>
  onMemory(async ({ engine, simulation, sleep }) => {
    const options = { ttlMs: 10_000, renew: false };
    const ahead = await mutex(engine, "ahead", options).acquire();
    const back = await mutex(engine, "back", options).acquire();
    simulation.stepClock(9_500);
    assert.throws(() => ahead.check(), lost, "check looks at the clocks");
    await sleep(1_001);
    assert.throws(() => back.check(), lost);
    const again = await mutex(engine, "again", options).acquire();
    simulation.stepClock(-3_600_000);
    await sleep(8_990);
    again.check();
    await sleep(20);
    assert.throws(() => again.check(), lost);
    assert.equal(again.signal.reason.code, "lost");
  }));

test("the signal learns of a clock that was set ahead within a second", () =>
  onMemory(async ({ engine, simulation, sleep }) => {
    const lock = await mutex(engine, "refunds", { renew: false }).acquire();
    const { signal } = lock;
    simulation.stepClock(60_000);
    await sleep(1_001);
    assert.equal(signal.reason?.code, "lost");
  }));

test("an acquisition whose reply is lost is repeated under the same holder and owns it once", () =>
  onMemory(async ({ engine, faults, other, sleep }) => {
    faults.acquire = losesReplies(3);
    const refunds = mutex(engine, "refunds");
    const lock = await refunds.acquire();
    assert.equal((await refunds.describe()).holders.length, 1);
    await lock.release();
    await sleep(1);
    assert.equal((await mutex(other, "refunds").tryAcquire())?.name, "refunds");
  }));

test("an engine that stays away is reported after waitMs and timeoutMs, and what it may have granted is released", () =>
  onMemory(async ({ engine, faults, other, world, sleep }) => {
    faults.acquire = losesReplies();
    const start = world.clock.monotonic();
    await assert.rejects(mutex(engine, "refunds").acquire({ waitMs: 1_000, timeoutMs: 500 }), {
      code: "unavailable",
      outcome: "unknown",
    });
    assert.ok(Math.abs(world.clock.monotonic() - start - 1_500) < 5);
    await sleep(1);
    assert.deepEqual((await mutex(other, "refunds").describe()).holders, []);
  }));

test("an engine that does not answer at all is given up in time, and a grant that comes later is released", () =>
  onMemory(async ({ engine, faults, other, world, sleep }) => {
    const late = Promise.withResolvers<void>();
    faults.acquire = async (apply) => {
      await late.promise;
      return apply();
    };
    const start = world.clock.monotonic();
    await assert.rejects(mutex(engine, "refunds").tryAcquire({ timeoutMs: 700 }), { code: "unavailable" });
    assert.ok(Math.abs(world.clock.monotonic() - start - 700) < 5);
    late.resolve();
    await sleep(5);
    assert.deepEqual((await mutex(other, "refunds").describe()).holders, []);
  }));

test("a grant that an engine makes after it was told to leave the queue is released too", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const deaf = {
      ...engine,
      leases: {
        ...engine.leases,
        // The request is still on its way when the abort, and the release, have passed.
        acquire: async (name: string, request: LeaseRequest) => {
          await sleep(2_000);
          return other.leases.acquire(name, request);
        },
      },
    };
    const stop = new AbortController();
    const waiting = mutex(deaf, "refunds").acquire({ signal: stop.signal });
    await sleep(10);
    stop.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await sleep(2_100);
    assert.deepEqual((await mutex(other, "refunds").describe()).holders, []);
    const next = await mutex(other, "refunds").acquire();
    assert.ok(next.token > 1n, "it was granted in between");
  }));

test("a caller who aborts gets its reason at once, leaves the queue, and holds nothing", () =>
  onMemory(async ({ engine, faults, other, sleep }) => {
    const refunds = mutex(engine, "refunds");
    const held = await mutex(other, "refunds").acquire();
    const stop = new AbortController();
    const reason = new Error("the shop closes");
    const waiting = refunds.acquire({ signal: stop.signal });
    await sleep(20);
    assert.equal((await refunds.describe()).waiting, 1);
    stop.abort(reason);
    await assert.rejects(waiting, reason);
    await sleep(1);
    assert.equal((await refunds.describe()).waiting, 0);
    await held.release();

    // Granted in the moment of the abort: the reply is under way.
    const second = new AbortController();
    faults.acquire = async (apply) => {
      const lease = await apply();
      second.abort(reason);
      await sleep(50);
      return lease;
    };
    await assert.rejects(refunds.acquire({ signal: second.signal }), reason);
    await sleep(100);
    assert.deepEqual((await refunds.describe()).holders, []);
    await assert.rejects(refunds.acquire({ signal: AbortSignal.abort(reason) }), reason);
  }));

test("a release whose reply is lost is repeated, and one that cannot be made is reported", () =>
  onMemory(async ({ engine, faults, other, log, world }) => {
    const refunds = mutex(engine, "refunds");
    const lock = await refunds.acquire();
    faults.release = losesRequests(3);
    await lock.release();
    const next = await mutex(other, "refunds").acquire();
    await next.release();

    const stuck = await refunds.acquire();
    faults.release = losesRequests();
    const start = world.clock.monotonic();
    await assert.rejects(stuck.release(), { code: "unavailable", outcome: "unknown" });
    assert.ok(world.clock.monotonic() - start <= 5_000);
    await assert.rejects(stuck.release(), { code: "unavailable" }, "the same answer again");
    assert.ok(log.some((line) => line.includes("could not be released")));
    await mutex(other, "refunds").acquire({ waitMs: 30_000 });
  }));

test("a release that never answers does not hang, and disposing never throws", () =>
  onMemory(async ({ engine, faults, world }) => {
    const refunds = mutex(engine, "refunds");
    faults.release = hangs();
    const start = world.clock.monotonic();
    assert.equal(await refunds.use(() => "done"), "done");
    assert.ok(world.clock.monotonic() - start <= 5_001);
    faults.release = async () => {
      throw new Error("not a TenonError");
    };
    await (await refunds.acquire({ waitMs: 60_000 }))[Symbol.asyncDispose]();
  }));

test("nothing is renewed after the release", () =>
  onMemory(async ({ engine, faults, sleep }) => {
    let renewals = 0;
    faults.renew = (apply) => {
      renewals += 1;
      return apply();
    };
    const lock = await mutex(engine, "refunds", { ttlMs: 300 }).acquire();
    await sleep(250);
    const before = renewals;
    assert.ok(before >= 2);
    await lock.release();
    await sleep(1_000);
    assert.equal(renewals, before);
    assert.equal(lock.signal.reason.code, "closed");
    assert.throws(() => lock.check(), { code: "closed" });
    await lock.release();
  }));

test("a handle reenters; the lock is given up when the last handle is released", () =>
  onMemory(async ({ engine, other }) => {
    const outer = await mutex(engine, "refunds").acquire();
    const inner = outer.reenter();
    const innermost = inner.reenter();
    assert.equal(inner.token, outer.token);
    await outer.release();
    await outer.release();
    assert.throws(() => outer.check(), { code: "closed" });
    assert.throws(() => outer.reenter(), { code: "closed" });
    assert.equal(outer.validMs, 0);
    inner.check();
    await innermost.release();
    assert.equal(await mutex(other, "refunds").tryAcquire(), undefined);
    assert.equal(inner.signal.aborted, false);
    await inner.release();
    assert.equal(inner.signal.aborted, true);
    assert.ok(await mutex(other, "refunds").tryAcquire());
  }));

test("use passes the work's answer and its errors, and says when the lock was lost meanwhile", () =>
  onMemory(async ({ engine, faults, sleep, other }) => {
    const refunds = mutex(engine, "refunds", { ttlMs: 1_000 });
    assert.equal(await refunds.use((lock) => lock.name), "refunds");
    await assert.rejects(
      refunds.use(() => {
        throw new RangeError("work failed");
      }),
      RangeError,
    );
    const early = refunds.use(async (lock) => {
      await lock.release();
      return 7;
    });
    assert.equal(await early, 7, "releasing early is no loss");
    faults.renew = losesRequests();
    await assert.rejects(
      refunds.use(() => sleep(1_500)),
      { code: "lost", outcome: "unknown" },
    );
    assert.ok(await mutex(other, "refunds").tryAcquire());
  }));

test("an answer that comes later than the lock lasts gives no lock", () =>
  onMemory(async ({ engine, faults, sleep }) => {
    faults.acquire = async (apply) => {
      const lease = await apply();
      await sleep(250);
      return lease;
    };
    await assert.rejects(mutex(engine, "refunds").acquire({ ttlMs: 200 }), lost);
  }));

test("a holder that dies keeps others out until its time to live ends, also over a crash; tokens go on growing", () => {
  let first = 0n;
  return onDisk([
    async ({ engine }) => {
      first = (await mutex(engine, "refunds", { ttlMs: 2_000 }).acquire()).token;
    },
    async ({ engine, world }) => {
      const refunds = mutex(engine, "refunds");
      assert.equal(await refunds.tryAcquire(), undefined);
      const start = world.clock.monotonic();
      const lock = await refunds.acquire({ waitMs: 5_000 });
      assert.ok(lock.token > first);
      assert.ok(world.clock.monotonic() - start <= 2_100);
      await lock.release();
    },
  ]);
});

test("an engine that is closed loses its locks at once, and acquires no more", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const lock: Lock = await mutex(engine, "refunds", { ttlMs: 300 }).acquire();
    await other.close();
    await sleep(120);
    assert.throws(() => lock.check(), lost);
    await lock.release();
    await assert.rejects(mutex(engine, "refunds").acquire(), { code: "closed" });
  }));

test("wrong names and options are refused by name, when the lock is made or acquired", () =>
  onMemory(async ({ engine }) => {
    const invalid = (what: string) => ({ code: "invalid", message: new RegExp(what) });
    assert.throws(() => mutex(engine, ""), invalid("mutex needs a name"));
    assert.throws(() => mutex(engine, "\ud800"), invalid("lone surrogate"));
    assert.throws(() => mutex(engine, "x".repeat(2_000)), invalid("2006 bytes"));
    for (const [option, value] of [
      ["ttlMs", 0],
      ["ttlMs", 1.5],
      ["ttlMs", 2 ** 40],
      ["waitMs", -1],
      ["waitMs", Number.NaN],
      ["waitMs", 2 ** 31],
      ["waitMs", "1000"],
      ["marginMs", "1000"],
      ["marginMs", -1],
      ["marginMs", 15_001],
      ["timeoutMs", 0],
      ["timeoutMs", Number.POSITIVE_INFINITY],
      ["data", "x".repeat(5_000)],
    ] as const) {
      assert.throws(() => mutex(engine, "a", { [option]: value }), invalid(option), option);
      await assert.rejects(mutex(engine, "a").acquire({ [option]: value }), invalid(option), option);
      await assert.rejects(mutex(engine, "a").tryAcquire({ [option]: value }), invalid(option), option);
    }
    await assert.rejects(mutex(engine, "a").use(undefined as unknown as () => void), invalid("a function"));
    assert.deepEqual((await mutex(engine, "a").describe()).holders, []);
  }));

test("what fails for good is not repeated", () =>
  onMemory(async ({ engine, faults }) => {
    let asked = 0;
    faults.acquire = async () => {
      asked += 1;
      throw Object.assign(away(), { code: "denied" });
    };
    await assert.rejects(mutex(engine, "refunds").acquire(), { code: "denied" });
    assert.equal(asked, 1);
  }));

test("its data is shown to those who look", () =>
  onMemory(async ({ engine }) => {
    const refunds = mutex(engine, "refunds", { data: "node-1" });
    await using _lock = await refunds.acquire({ data: "node-1, order 7" });
    const { name, holders } = await refunds.describe();
    assert.deepEqual([name, holders.map((holder) => holder.data)], ["refunds", ["node-1, order 7"]]);
  }));

test("what was asked for is released when asking itself aborts the caller's signal", () =>
  onMemory(async ({ engine, faults, other }) => {
    const stop = new AbortController();
    faults.acquire = (apply) => {
      stop.abort(new Error("enough"));
      return apply();
    };
    await assert.rejects(mutex(engine, "refunds").acquire({ signal: stop.signal }), /enough/);
    await using _lock = await mutex(other, "refunds").acquire({ waitMs: 1_000, ttlMs: 60_000 });
  }));
