import assert from "node:assert/strict";
import { test } from "node:test";
import type { LeaseEngine } from "../contracts/leases.ts";
import { losesReplies, losesRequests, onMemory } from "./fixtures.test.ts";
import { multiLock, mutex, readWriteLock, semaphore } from "./index.ts";

test("readers share, a writer is alone, and a waiting writer goes before later readers", () =>
  onMemory(async ({ engine, sleep }) => {
    const prices = readWriteLock(engine, "prices");
    const first = await prices.read.acquire();
    const second = await prices.read.acquire();
    assert.equal(await prices.write.tryAcquire(), undefined);
    const order: string[] = [];
    const writing = prices.write.use(async (lock) => {
      order.push("write");
      assert.ok(lock.token > second.token);
      assert.equal(await prices.read.tryAcquire(), undefined);
    });
    await sleep(1);
    const reading = prices.read.use(() => {
      order.push("read");
    });
    await sleep(1);
    assert.deepEqual(order, []);
    await first.release();
    await second.release();
    await Promise.all([writing, reading]);
    assert.deepEqual(order, ["write", "read"]);
  }));

test("a semaphore hands out so many permits, one by one or several at once, in the order of asking", () =>
  onMemory(async ({ engine, sleep }) => {
    const bank = semaphore(engine, "bank", { permits: 5 });
    const three = await bank.acquire({ permits: 3 });
    assert.equal(three.weight, 3);
    const two = await bank.acquire({ permits: 2 });
    assert.equal(await bank.tryAcquire(), undefined);
    const order: string[] = [];
    const heavy = bank.use(() => void order.push("four"), { permits: 4 });
    await sleep(1);
    const light = bank.use(() => void order.push("one"));
    await two.release();
    await sleep(10);
    assert.deepEqual(order, [], "nobody overtakes, a lighter request neither");
    await three.release();
    await Promise.all([heavy, light]);
    assert.deepEqual(order, ["four", "one"]);
  }));

test("a permit comes back when its holder is not heard of any more", () =>
  onMemory(async ({ engine, faults, sleep }) => {
    const bank = semaphore(engine, "bank", { permits: 2, ttlMs: 1_000 });
    const permits = [await bank.acquire(), await bank.acquire()];
    faults.renew = losesRequests();
    await sleep(1_100);
    assert.throws(() => permits[0]!.check(), { code: "lost" });
    faults.renew = undefined;
    await using _both = await bank.acquire({ permits: 2, waitMs: 0 });
  }));

test("permits out of range are refused, and counting where the engine cannot count", () =>
  onMemory(async ({ engine }) => {
    for (const permits of [0, 1.5, -1, 2 ** 31, Number.NaN]) {
      assert.throws(() => semaphore(engine, "bank", { permits }), { code: "invalid" });
    }
    const bank = semaphore(engine, "bank", { permits: 2 });
    for (const permits of [0, 3, 1.5]) await assert.rejects(bank.acquire({ permits }), { code: "invalid" });
    const capabilities = { ...engine.leases.capabilities, counted: false };
    const uncounted = { ...engine, leases: { capabilities } as LeaseEngine };
    assert.throws(() => semaphore(uncounted, "bank", { permits: 2 }), { code: "unsupported" });
    assert.equal(semaphore(uncounted, "bank", { permits: 1 }).permits, 1);
  }));

test("mutexes, semaphores, read-write locks and elections of one name do not meet", () =>
  onMemory(async ({ engine }) => {
    await using _mutex = await mutex(engine, "a").acquire();
    await using _write = await readWriteLock(engine, "a").write.acquire();
    await using _permit = await semaphore(engine, "a", { permits: 1 }).acquire();
  }));

test("several locks are held together or not at all", () =>
  onMemory(async ({ engine, other }) => {
    const accounts = multiLock(engine, ["bob", "ann", "bob"]);
    const locks = await accounts.acquire();
    assert.deepEqual(locks.names, ["ann", "bob"]);
    assert.deepEqual([...locks.tokens.keys()], ["ann", "bob"]);
    assert.equal(await mutex(other, "ann").tryAcquire(), undefined);
    assert.equal(await mutex(other, "bob").tryAcquire(), undefined);
    await locks.release();
    assert.equal(locks.signal.aborted, true);

    const bob = await mutex(other, "bob").acquire();
    await assert.rejects(accounts.acquire({ waitMs: 100 }), { code: "timeout" });
    assert.equal(await accounts.tryAcquire(), undefined);
    await using _ann = await mutex(other, "ann").acquire({ waitMs: 0 });
    await bob.release();
  }));

test("those who want the same locks in different orders never wait for each other in a circle", () =>
  onMemory(async ({ engine, sleep }) => {
    let moved = 0;
    const move = (from: string, to: string) =>
      multiLock(engine, [from, to], { waitMs: 20_000 }).use(async () => {
        await sleep(5);
        moved += 1;
      });
    const names = ["ann", "bob", "cat"];
    await Promise.all(Array.from({ length: 30 }, (_, i) => move(names[i % 3]!, names[(i * 2 + 1) % 3]!)));
    assert.equal(moved, 30);
  }));

test("one deadline counts for all of several locks, and an abort gives back those that were had", () =>
  onMemory(async ({ engine, other, world, sleep }) => {
    const blockers = [await mutex(other, "a").acquire(), await mutex(other, "b").acquire()];
    const start = world.clock.monotonic();
    const waiting = multiLock(engine, ["a", "b"]).acquire({ waitMs: 1_000 });
    const refused = assert.rejects(waiting, { code: "timeout" });
    await sleep(700);
    await blockers[0]!.release();
    await refused;
    assert.ok(Math.abs(world.clock.monotonic() - start - 1_000) < 5);

    const stop = new AbortController();
    const aborted = multiLock(engine, ["a", "b"]).acquire({ signal: stop.signal });
    await sleep(10);
    assert.equal(await mutex(other, "a").tryAcquire(), undefined);
    stop.abort(new Error("enough"));
    await assert.rejects(aborted, /enough/);
    await sleep(1);
    assert.ok(await mutex(other, "a").tryAcquire());
  }));

test("several locks are lost when one of them is", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const locks = await multiLock(engine, ["a", "b"], { ttlMs: 900 }).acquire();
    const { signal } = locks;
    const { holders } = await mutex(other, "b").describe();
    await other.leases.release("mutex/b", holders[0]!.holder);
    await sleep(310);
    assert.equal(signal.reason.code, "lost");
    assert.throws(() => locks.check(), { code: "lost" });
    assert.equal(locks.validMs, 0);
    await locks.release();
    assert.ok(await mutex(other, "a").tryAcquire());
  }));

test("locks that are not renewed and end while the others are waited for are acquired again", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const b = await mutex(other, "b").acquire();
    const waiting = multiLock(engine, ["a", "b"], { ttlMs: 300, renew: false }).acquire({ waitMs: 5_000 });
    await sleep(1_000);
    await b.release();
    const locks = await waiting;
    assert.ok(locks.validMs > 0);
    locks.check();
  }));

test("several locks are acquired through lost replies, and none is left when it fails", () =>
  onMemory(async ({ engine, faults, other, sleep }) => {
    faults.acquire = losesReplies(2);
    const locks = await multiLock(engine, ["a", "b"]).acquire();
    await locks.release();
    let calls = 0;
    faults.acquire = (apply) => (calls++ === 0 ? apply() : losesRequests<never>()(apply as never));
    await assert.rejects(multiLock(engine, ["a", "b"]).acquire({ waitMs: 100, timeoutMs: 100 }), {
      code: "unavailable",
    });
    await sleep(1);
    assert.deepEqual((await mutex(other, "a").describe()).holders, []);
  }));

test("several locks need a name, and right ones", () =>
  onMemory(async ({ engine }) => {
    assert.throws(() => multiLock(engine, []), { code: "invalid" });
    assert.throws(() => multiLock(engine, ["a", ""]), { code: "invalid" });
    assert.throws(() => multiLock(engine, "ab" as unknown as string[]), { code: "invalid" });
    await assert.rejects(multiLock(engine, ["a"]).acquire({ waitMs: -1 }), { code: "invalid" });
  }));
