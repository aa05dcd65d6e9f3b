import assert from "node:assert/strict";
import { test } from "node:test";
import { losesReplies, losesRequests, onMemory, Pausable } from "./fixtures.test.ts";
import { election, type Leader } from "./index.ts";

test("one candidate leads at a time, the others follow when it resigns, and terms grow", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const terms: bigint[] = [];
    const first = await election(engine, "settlement", { candidate: "a" }).campaign();
    terms.push(first.term);
    const following = election(other, "settlement", { candidate: "b" }).campaign();
    await sleep(120_000);
    first.check();
    assert.equal(first.candidate, "a");
    await first.resign();
    assert.equal(first.signal.reason.code, "closed");
    const second = await following;
    assert.ok(second.term > first.term);
    assert.equal((await election(engine, "settlement", { candidate: "a" }).leader())?.candidate, "b");
    await second.release();
    assert.equal(await election(engine, "settlement", { candidate: "a" }).leader(), undefined);
  }));

test("a campaign waits for ever, or as long as it is told to", () =>
  onMemory(async ({ engine, world }) => {
    const leadership = await election(engine, "settlement", { candidate: "a" }).campaign();
    const start = world.clock.monotonic();
    await assert.rejects(election(engine, "settlement", { candidate: "b", waitMs: 5_000 }).campaign(), {
      code: "timeout",
    });
    await assert.rejects(election(engine, "settlement", { candidate: "b" }).campaign({ waitMs: 1_000 }), {
      code: "timeout",
    });
    assert.ok(Math.abs(world.clock.monotonic() - start - 6_000) < 10);
    const stop = new AbortController();
    const waiting = election(engine, "settlement", { candidate: "b" }).campaign({ signal: stop.signal });
    stop.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
    await leadership.resign();
  }));

test("observers see the present leader and each change, with its term and data", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const seen: (Leader | undefined)[] = [];
    const stop = new AbortController();
    const observing = (async () => {
      const watched = election(other, "settlement", { candidate: "observer" });
      for await (const leader of watched.observe({ signal: stop.signal })) seen.push(leader);
    })();
    await sleep(10);
    const first = await election(engine, "settlement", { candidate: "a", data: "10.0.0.7", ttlMs: 900 }).campaign();
    await sleep(5_000);
    await first.resign();
    await sleep(10);
    const second = await election(engine, "settlement", { candidate: "b" }).campaign();
    await sleep(10);
    stop.abort();
    await observing;
    assert.deepEqual(seen, [
      undefined,
      { candidate: "a", data: "10.0.0.7", term: first.term },
      undefined,
      { candidate: "b", data: undefined, term: second.term },
    ]);
  }));

test("observing goes on while the engine is away, and ends when it is closed", () =>
  onMemory(async ({ engine, other, sleep }) => {
    let failures = 0;
    const flaky: typeof engine = {
      ...engine,
      leases: {
        ...engine.leases,
        async *watch(...call) {
          if (failures++ % 2 === 0) throw await losesRequests<never>()(undefined as never).catch((error) => error);
          for await (const each of other.leases.watch(...call)) {
            yield each;
            return;
          }
        },
      },
    };
    const seen: (string | undefined)[] = [];
    const ended = (async () => {
      const watched = election(flaky, "settlement", { candidate: "observer" });
      for await (const leader of watched.observe()) seen.push(leader?.candidate);
    })();
    ended.catch(() => {});
    await sleep(1_000);
    const leadership = await election(engine, "settlement", { candidate: "a" }).campaign();
    await sleep(3_000);
    await leadership.resign();
    await sleep(3_000);
    assert.deepEqual(seen, [undefined, "a", undefined]);
    await other.close();
    await assert.rejects(ended, { code: "closed" });
  }));

test("lead campaigns again after a lost term, when the work of that term has settled", () =>
  onMemory(async ({ engine, faults, sleep }) => {
    const terms: bigint[] = [];
    let working = 0;
    const stop = new AbortController();
    const settlement = election(engine, "settlement", { candidate: "a", ttlMs: 1_000 });
    const leading = settlement.lead(
      async ({ term, signal }) => {
        assert.equal(++working, 1);
        terms.push(term);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        await sleep(500);
        working -= 1;
        if (terms.length === 2) throw new Error("too late to matter");
      },
      { signal: stop.signal },
    );
    for (let round = 0; round < 2; round++) {
      await sleep(2_500);
      faults.renew = losesRequests();
      await sleep(1_500);
      faults.renew = undefined;
    }
    await sleep(2_500);
    assert.equal(working, 1, "it leads again");
    stop.abort();
    await leading;
    assert.equal(terms.length, 3);
    assert.ok(terms[0]! < terms[1]! && terms[1]! < terms[2]!);
    assert.equal(await settlement.leader(), undefined);
  }));

test("lead resolves when its work does, and rejects with what it throws while it leads; both resign", () =>
  onMemory(async ({ engine }) => {
    const settlement = election(engine, "settlement", { candidate: "a" });
    await settlement.lead(() => {});
    assert.equal(await settlement.leader(), undefined);
    await assert.rejects(
      settlement.lead(() => {
        throw new RangeError("work failed");
      }),
      RangeError,
    );
    assert.equal(await settlement.leader(), undefined);
    await settlement.lead(() => assert.fail("it was stopped before"), { signal: AbortSignal.abort() });
  }));

test("lead gives up its place in the queue when it is stopped", () =>
  onMemory(async ({ engine, other, sleep }) => {
    const leadership = await election(other, "settlement", { candidate: "a" }).campaign();
    const stop = new AbortController();
    const leading = election(engine, "settlement", { candidate: "b" }).lead(() => assert.fail("never leads"), {
      signal: stop.signal,
    });
    await sleep(10);
    stop.abort();
    await leading;
    await sleep(1);
    assert.equal((await other.leases.describe("election/settlement")).waiting, 0);
    await leadership.resign();
  }));

test("campaigning goes through lost replies", () =>
  onMemory(async ({ engine, faults }) => {
    faults.acquire = losesReplies(5);
    const leadership = await election(engine, "settlement", { candidate: "a" }).campaign();
    leadership.check();
    await leadership.resign();
  }));

test("a leader that is paused has lost its term when it wakes, and leads under a greater one later", () =>
  onMemory(async ({ other, engine, world, sleep }) => {
    const process = new Pausable(other.leases, world);
    const paused = election({ leases: process.leases, world: process.world }, "settlement", { candidate: "a" });
    const first = await paused.campaign();
    const successor = election(engine, "settlement", { candidate: "b" });
    process.pause();
    const second = await successor.campaign();
    process.resume();
    assert.throws(() => first.check(), { code: "lost" });
    assert.ok(second.term > first.term);
    await first.resign();
    await sleep(10);
    second.check();
    assert.equal((await successor.leader())?.candidate, "b");
  }));

test("wrong candidates and data are refused", () =>
  onMemory(async ({ engine }) => {
    for (const candidate of ["", "\ud800", 7 as unknown as string]) {
      assert.throws(() => election(engine, "a", { candidate }), { code: "invalid" });
    }
    assert.throws(() => election(engine, "a", { candidate: "a", data: "x".repeat(5_000) }), { code: "invalid" });
    assert.throws(() => election(engine, "a", { candidate: "a", data: 7 as unknown as string }), { code: "invalid" });
  }));
