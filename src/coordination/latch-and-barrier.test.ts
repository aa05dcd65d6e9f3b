import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyValueEngine } from "../contracts/key-value.ts";
import { losesReplies, losesRequests, onDisk, onMemory, Pausable } from "./fixtures.test.ts";
import { barrier, countdownLatch } from "./index.ts";

test("a latch opens when all participants have counted down, each of them once", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const closing = countdownLatch(engine, "closing", { count: 3 });
    let open = false;
    const waiting = countdownLatch(other, "closing", { count: 3 })
      .wait()
      .then(() => {
        open = true;
      });
    assert.equal(await closing.countDown("till 1"), 2);
    assert.equal(await closing.countDown("till 1"), 2);
    assert.equal(await closing.countDown("till 2"), 1);
    await sleep(1_000);
    assert.equal(open, false);
    assert.equal(await closing.countDown("till 3"), 0);
    await waiting;
    assert.equal(await closing.countDown("till 4"), 0);
    assert.equal(await closing.remaining(), 0);
    await closing.wait();
  }));

test("a latch survives a crash of everybody", () =>
  onDisk([
    async ({ engine }) => {
      await countdownLatch(engine, "closing", { count: 2 }).countDown("till 1");
    },
    async ({ engine }) => {
      const closing = countdownLatch(engine, "closing", { count: 2 });
      assert.equal(await closing.remaining(), 1);
      await closing.countDown("till 1");
      await closing.countDown("till 2");
      await closing.wait();
    },
  ]));

test("counting down through lost replies counts once", () =>
  onMemory(async ({ engine, faults, other }) => {
    faults.commit = losesReplies(3);
    assert.equal(await countdownLatch(engine, "closing", { count: 3 }).countDown("till 1"), 2);
    faults.commit = losesRequests();
    const away = countdownLatch(engine, "closing", { count: 3, timeoutMs: 300 });
    await assert.rejects(away.countDown("till 2"), { code: "unavailable", outcome: "unknown" });
    assert.equal(await countdownLatch(other, "closing", { count: 3 }).remaining(), 2);
  }));

test("waiting for a latch ends with its time or its signal", () =>
  onMemory(async ({ engine, sleep }) => {
    const closing = countdownLatch(engine, "closing", { count: 1 });
    await assert.rejects(closing.wait({ waitMs: 100 }), { code: "timeout" });
    const stop = new AbortController();
    const waiting = closing.wait({ signal: stop.signal });
    await sleep(5);
    stop.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await assert.rejects(closing.wait({ waitMs: -1 }), { code: "invalid" });
  }));

test("latches agree on their count, keep to their names, and can be removed", () =>
  onMemory(async ({ engine, other }) => {
    const closing = countdownLatch(engine, "closing", { count: 2 });
    await closing.countDown("a/b");
    await assert.rejects(countdownLatch(engine, "closing", { count: 3 }).countDown("x"), { code: "conflict" });
    await assert.rejects(countdownLatch(engine, "closing", { count: 3 }).wait(), { code: "conflict" });
    await closing.countDown("count");
    const beneath = countdownLatch(engine, "closing/participant", { count: 2 });
    assert.equal(await beneath.countDown("x"), 1, "no name's keys are those of another");
    await beneath.remove();
    assert.equal(await countdownLatch(engine, "clos", { count: 2 }).remaining(), 2);
    await closing.remove();
    assert.deepEqual(await other.keyValue.scan(""), []);
    assert.equal(await closing.countDown("c"), 1);
    for (const count of [0, 1.5, 2 ** 31]) {
      assert.throws(() => countdownLatch(engine, "a", { count }), { code: "invalid" });
    }
    await assert.rejects(closing.countDown(""), { code: "invalid" });
    await assert.rejects(closing.countDown("x".repeat(5_000)), { code: "invalid" });
    const capabilities = { ...engine.keyValue.capabilities, watch: false };
    const blind = { ...engine, keyValue: { capabilities } as KeyValueEngine };
    assert.throws(() => countdownLatch(blind, "a", { count: 1 }), { code: "unsupported" });
  }));

test("a barrier lets all go on when the last one has arrived, generation after generation", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const steps: string[] = [];
    const party = async (name: string, delayMs: number, engineOfParty: typeof engine) => {
      const nightly = barrier(engineOfParty, "nightly", { parties: 3 });
      for (let generation = 0; generation < 4; generation++) {
        await sleep(delayMs);
        steps.push(`${generation} ${name} arrives`);
        assert.deepEqual(await nightly.arrive(), { generation });
        steps.push(`${generation} ${name} passes`);
      }
    };
    await Promise.all([party("a", 5, engine), party("b", 50, other), party("c", 200, engine)]);
    for (let generation = 0; generation < 4; generation++) {
      const ofIt = steps.filter((step) => step.startsWith(`${generation} `)).map((step) => step.split(" ")[2]);
      assert.deepEqual(ofIt, ["arrives", "arrives", "arrives", "passes", "passes", "passes"]);
    }
    const { holders } = await other.leases.describe("barrier/nightly");
    assert.deepEqual(holders, []);
  }));

test("a party that gives up breaks the barrier for all, until it is reset", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const nightly = barrier(engine, "nightly", { parties: 3 });
    const theirs = barrier(other, "nightly", { parties: 3 });
    const waiting = assert.rejects(theirs.arrive(), { code: "conflict", message: /broken in generation 0/ });
    await sleep(5);
    await assert.rejects(nightly.arrive({ waitMs: 200 }), { code: "timeout" });
    await waiting;
    await assert.rejects(theirs.arrive(), { code: "conflict" });
    assert.deepEqual(await nightly.describe(), { generation: 0, waiting: 2, broken: true });
    await nightly.reset();
    assert.deepEqual(await nightly.describe(), { generation: 1, waiting: 0, broken: false });
    await Promise.all([nightly.arrive(), theirs.arrive(), theirs.arrive()]);

    const stop = new AbortController();
    const aborted = assert.rejects(nightly.arrive({ signal: stop.signal }), /enough/);
    const met = assert.rejects(theirs.arrive(), { code: "conflict" });
    await sleep(5);
    stop.abort(new Error("enough"));
    await Promise.all([aborted, met]);
  }));

test("a party that gives up while its arrival is on its way breaks the barrier too", () =>
  onMemory(async ({ engine, other, faults, sleep }) => {
    const waiting = assert.rejects(barrier(other, "nightly", { parties: 3 }).arrive(), { code: "conflict" });
    await sleep(5);
    let calls = 0;
    faults.commit = (apply) => (calls++ === 0 ? new Promise(() => {}) : apply());
    const nightly = barrier(engine, "nightly", { parties: 3 });
    await assert.rejects(nightly.arrive({ waitMs: 100 }), { code: "timeout" });
    await waiting;
    await nightly.reset();
    await assert.rejects(nightly.arrive({ waitMs: 0 }), { code: "timeout" });
    assert.equal((await nightly.describe()).broken, true);
    await nightly.reset();
    await assert.rejects(nightly.arrive({ waitMs: 500 }), { code: "timeout" });
    assert.deepEqual(
      await nightly.describe(),
      { generation: 2, waiting: 1, broken: true },
      "with nobody else to see it",
    );
  }));

test("a reset sends those away who wait", () =>
  onMemory(async ({ engine, sleep }) => {
    const nightly = barrier(engine, "nightly", { parties: 2 });
    const waiting = assert.rejects(nightly.arrive(), { code: "conflict", message: /reset/ });
    await sleep(5);
    await nightly.reset();
    await waiting;
    await Promise.all([nightly.arrive(), nightly.arrive()]);
  }));

test("a party that dies while it waits breaks the barrier", () =>
  onMemory(async ({ engine, other, world, sleep }) => {
    const process = new Pausable(other.leases, world);
    const mortal = { keyValue: other.keyValue, leases: process.leases, world: process.world };
    void barrier(mortal, "nightly", { parties: 3, ttlMs: 2_000 }).arrive();
    await sleep(5);
    const nightly = barrier(engine, "nightly", { parties: 3 });
    const start = world.clock.monotonic();
    const waiting = assert.rejects(nightly.arrive(), { code: "conflict" });
    await sleep(5);
    process.pause();
    await waiting;
    const tookMs = world.clock.monotonic() - start;
    assert.ok(tookMs > 1_300 && tookMs < 2_200, String(tookMs));
  }));

test("nobody passes with a party that has died before, although the number would be full", () =>
  onDisk([
    async ({ engine, sleep }) => {
      void barrier(engine, "nightly", { parties: 2, ttlMs: 1_000 }).arrive();
      await sleep(50);
    },
    async ({ engine, sleep }) => {
      const nightly = barrier(engine, "nightly", { parties: 2, ttlMs: 1_000 });
      await sleep(2_000);
      await assert.rejects(nightly.arrive(), { code: "conflict" });
      await nightly.remove();
      await Promise.all([nightly.arrive(), nightly.arrive()]);
    },
  ]));

test("an arrival whose reply is lost counts once, also when it was the last", () =>
  onMemory(async ({ engine, other, faults }) => {
    const nightly = barrier(engine, "nightly", { parties: 2 });
    for (const lossy of [0, 1]) {
      faults.commit = losesReplies(2);
      const first = lossy === 0 ? nightly.arrive() : barrier(other, "nightly", { parties: 2 }).arrive();
      const second = lossy === 0 ? barrier(other, "nightly", { parties: 2 }).arrive() : nightly.arrive();
      assert.deepEqual(await Promise.all([first, second]), [{ generation: lossy }, { generation: lossy }]);
    }
    assert.deepEqual(await nightly.describe(), { generation: 2, waiting: 0, broken: false });
  }));

test("barriers agree on their parties, and wrong options are refused", () =>
  onMemory(async ({ engine }) => {
    await barrier(engine, "nightly", { parties: 1 }).arrive();
    await assert.rejects(barrier(engine, "nightly", { parties: 2 }).arrive(), { code: "conflict" });
    for (const parties of [0, 10_001, 1.5]) {
      assert.throws(() => barrier(engine, "a", { parties }), { code: "invalid" });
    }
    assert.throws(() => barrier(engine, "a", { parties: 1, ttlMs: 0 }), { code: "invalid" });
    await assert.rejects(barrier(engine, "a", { parties: 2 }).arrive({ waitMs: Number.NaN }), { code: "invalid" });
  }));
