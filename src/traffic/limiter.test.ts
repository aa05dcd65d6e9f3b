import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import type { RateEngine } from "../contracts/rates.ts";
import { memory } from "../engines/embedded/index.ts";
import { simulatedWorld } from "../simulation/index.ts";
import { concurrencyLimiter, limiter, type RatesEngine } from "./index.ts";

interface Bench {
  readonly engine: RatesEngine;
  /** How often the engine was asked to decide or to let in. */
  asked(): number;
  /** Rejects what is asked next, after it was applied when `applied`. */
  failNext(error: unknown, applied?: boolean): void;
  readonly log: string[];
  now(): number;
  sleep(ms: number): Promise<void>;
}

async function onMemory(work: (bench: Bench) => Promise<void>): Promise<void> {
  const log: string[] = [];
  const simulation = simulatedWorld({ seed: 1, log: { log: (level, message) => log.push(`${level}: ${message}`) } });
  await simulation.run(async () => {
    const { world } = simulation;
    const engine = await memory({ world });
    let asked = 0;
    let failure: { readonly error: unknown; readonly applied: boolean } | undefined;
    const through = async <T>(call: () => Promise<T>): Promise<T> => {
      asked++;
      const failing = failure;
      failure = undefined;
      if (failing?.applied) await call();
      if (failing !== undefined) throw failing.error;
      return call();
    };
    const rates: RateEngine = {
      capabilities: engine.rates.capabilities,
      decide: (key, rule, count) => through(() => engine.rates.decide(key, rule, count)),
      enter: (key, rule, permit) => through(() => engine.rates.enter(key, rule, permit)),
      leave: (key, rule, permit) => engine.rates.leave(key, rule, permit),
      reset: (key, rule) => engine.rates.reset(key, rule),
    };
    await work({
      engine: { rates, world },
      asked: () => asked,
      failNext: (error, applied = false) => {
        failure = { error, applied };
      },
      log,
      now: () => world.clock.monotonic(),
      sleep: (ms) => world.timers.sleep(ms),
    });
    await engine.close();
  });
}

const log2 = { type: "slidingLog", limit: 2, windowMs: 1_000 } as const;
const one = { type: "concurrency", limit: 1, holdMs: 10_000 } as const;
const unknown = () => new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });

test("limiters of one name share a limit, whoever asks; names and keys are counted apart", () =>
  onMemory(async ({ engine }) => {
    const here = limiter(engine, "logins", log2);
    const there = limiter(engine, "logins", log2);
    const other = limiter(engine, "orders", log2);
    assert.equal((await here.tryTake("ann")).remaining, 1);
    assert.deepEqual(await there.tryTake("ann"), { allowed: true, retryAfterMs: 0, remaining: 0, delayMs: 0 });
    assert.equal((await here.tryTake("ann")).allowed, false);
    assert.equal((await here.tryTake("bob", 2)).allowed, true);
    assert.equal((await other.tryTake("ann")).allowed, true);
    assert.equal((await here.tryTake()).allowed, true);
    await there.reset("ann");
    assert.equal((await here.tryTake("ann", 2)).allowed, true);
  }));

for (const rule of [
  { type: "fixedWindow", limit: 2, windowMs: 1_000 },
  { type: "slidingWindow", limit: 2, windowMs: 1_000, cells: 10 },
  log2,
  { type: "leakyBucket", ratePerSecond: 2, queueMax: 1_000 },
  { type: "tokenBucket", ratePerSecond: 2, burst: 2 },
] as const) {
  test(`${rule.type}: those who wait in one process go on in their order, and only one of them asks at a time`, () =>
    onMemory(async (bench) => {
      const shared = limiter(bench.engine, "l", rule);
      const served: number[] = [];
      const start = bench.now();
      await Promise.all(
        Array.from({ length: 12 }, (_, order) =>
          shared.take("k", { waitMs: 60_000 }).then(() => {
            served.push(order);
          }),
        ),
      );
      assert.deepEqual(
        served,
        Array.from({ length: 12 }, (_, order) => order),
      );
      const elapsedMs = bench.now() - start;
      assert.ok(elapsedMs >= 4_000 && elapsedMs <= 6_600, `${elapsedMs} ms`);
      assert.ok(bench.asked() <= 24, `asked ${bench.asked()} times`);
    }));
}

test("who is known to wait too long is refused at once, and who stands behind others when its time is over", () =>
  onMemory(async (bench) => {
    const shared = limiter(bench.engine, "l", log2);
    await shared.tryTake("k", 2);
    const start = bench.now();
    await assert.rejects(shared.take("k", { waitMs: 500 }), (error: TenonError) => {
      assert.equal(error.code, "overloaded");
      assert.ok((error.fields.retryAfterMs as number) > 500 && (error.fields.retryAfterMs as number) <= 1_000);
      return true;
    });
    assert.ok(bench.now() - start < 100);
    const first = shared.take("k", { count: 2 });
    await assert.rejects(shared.take("k", { waitMs: 300 }), { code: "overloaded" });
    assert.ok(bench.now() - start < 500);
    await first;
  }));

test("a leaky bucket's caller that would wait too long takes no place in its queue", () =>
  onMemory(async ({ engine }) => {
    const shared = limiter(engine, "l", { type: "leakyBucket", ratePerSecond: 1, queueMax: 10 });
    await shared.tryTake("k", 5);
    for (let attempt = 0; attempt < 20; attempt++) {
      await assert.rejects(shared.take("k", { waitMs: 2_000 }), { code: "overloaded" });
    }
    const { delayMs } = await shared.tryTake("k");
    assert.ok(delayMs > 4_000 && delayMs <= 5_000, `${delayMs} ms`);
  }));

test("a signal ends the wait of whoever asks, and of whoever stands behind", () =>
  onMemory(async (bench) => {
    const shared = limiter(bench.engine, "l", log2);
    await shared.tryTake("k", 2);
    const leaving = new AbortController();
    const asking = assert.rejects(shared.take("k", { signal: leaving.signal }), /went home/);
    const behind = assert.rejects(shared.take("k", { signal: leaving.signal }), /went home/);
    const staying = shared.take("k");
    await bench.sleep(100);
    leaving.abort(new Error("went home"));
    await Promise.all([asking, behind]);
    await staying;
    await assert.rejects(shared.take("k", { signal: leaving.signal }), /went home/);
  }));

test("an engine that fails rejects who asked, and the next one asks", () =>
  onMemory(async (bench) => {
    const shared = limiter(bench.engine, "l", log2);
    bench.failNext(unknown());
    const [first, second] = await Promise.allSettled([shared.take("k"), shared.take("k")]);
    assert.equal(first.status, "rejected");
    assert.equal(second.status, "fulfilled");
  }));

test("wrong figures, names and keys are invalid, and what the engine cannot remember is unsupported", () =>
  onMemory(async ({ engine }) => {
    const { logLimitMax, keyBytesMax } = engine.rates.capabilities;
    for (const name of ["", "a:b", "ä", "x".repeat(201)])
      assert.throws(() => limiter(engine, name, log2), { code: "invalid" });
    assert.throws(() => limiter(engine, "l", { ...log2, limit: 0 }), { code: "invalid" });
    assert.throws(() => limiter(engine, "l", { ...log2, limit: logLimitMax + 1 }), { code: "unsupported" });
    assert.throws(() => concurrencyLimiter(engine, "l", { ...one, limit: logLimitMax + 1 }), { code: "unsupported" });
    assert.throws(() => concurrencyLimiter(engine, "l", { ...one, holdMs: 0 }), { code: "invalid" });
    assert.throws(() => concurrencyLimiter(engine, "l", one, { pollMs: 0 }), { code: "invalid" });
    const pollMs = "5" as unknown as number;
    assert.throws(() => concurrencyLimiter(engine, "l", one, { pollMs }), { code: "invalid" });
    const shared = limiter(engine, "l", log2);
    await assert.rejects(shared.tryTake("k", 3), { code: "invalid" });
    await assert.rejects(shared.take("k", { count: 0 }), { code: "invalid" });
    await assert.rejects(shared.take("k", { waitMs: -1 }), { code: "invalid" });
    await assert.rejects(shared.tryTake("ä".repeat(keyBytesMax / 2)), { code: "invalid" });
    await assert.rejects(shared.tryTake(7 as unknown as string), { code: "invalid" });
    const counting = limiter(engine, "l", { ...log2, countRefusals: true });
    await assert.rejects(counting.take("k"), { code: "invalid" });
  }));

test("permits are shared by all, given back by using them up, and end by themselves", () =>
  onMemory(async (bench) => {
    const here = concurrencyLimiter(bench.engine, "c", one);
    const there = concurrencyLimiter(bench.engine, "c", one);
    {
      await using permit = await here.tryEnter("k");
      assert.deepEqual([permit.allowed, permit.remaining], [true, 0]);
      const refusal = await there.tryEnter("k");
      assert.equal(refusal.allowed, false);
      assert.ok(refusal.retryAfterMs > 9_000 && refusal.retryAfterMs <= 10_000);
      await refusal.release();
      assert.equal((await there.tryEnter("k")).allowed, false);
    }
    const lost = await here.tryEnter("k");
    assert.equal(lost.allowed, true);
    await bench.sleep(9_000);
    assert.equal(await lost.renew(), true);
    await bench.sleep(9_000);
    assert.equal((await there.tryEnter("k")).allowed, false);
    await bench.sleep(1_001);
    const next = await there.tryEnter("k");
    assert.equal(next.allowed, true);
    assert.equal(await lost.renew(), false);
    await lost.release();
    assert.equal((await here.tryEnter("k")).allowed, false);
    await there.reset("k");
    assert.equal((await here.tryEnter("k")).allowed, true);
  }));

test("who waits enters at once when its own process gives a permit back, and soon when another one does", () =>
  onMemory(async (bench) => {
    const here = concurrencyLimiter(bench.engine, "c", one, { pollMs: 1_000 });
    const there = concurrencyLimiter(bench.engine, "c", one);
    const first = await here.tryEnter("k");
    const second = here.enter("k");
    const third = here.enter("k");
    await bench.sleep(10);
    let start = bench.now();
    await first.release();
    const entered = await second;
    assert.ok(bench.now() - start < 50);
    await entered.release();
    await (await third).release();
    const foreign = await there.tryEnter("k");
    const fourth = here.enter("k");
    await bench.sleep(10);
    start = bench.now();
    await foreign.release();
    await (await fourth).release();
    assert.ok(bench.now() - start <= 1_050);
  }));

test("waiting for a permit ends after waitMs, or with the signal, and nobody goes on asking", () =>
  onMemory(async (bench) => {
    const shared = concurrencyLimiter(bench.engine, "c", one);
    await shared.tryEnter("k");
    const leaving = new AbortController();
    const start = bench.now();
    const left = assert.rejects(shared.enter("k", { signal: leaving.signal }), /went home/);
    await assert.rejects(shared.enter("k", { waitMs: 500 }), { code: "overloaded" });
    assert.ok(bench.now() - start < 600);
    leaving.abort(new Error("went home"));
    await left;
    await assert.rejects(shared.enter("k", { waitMs: 0 }), { code: "overloaded" });
    const asked = bench.asked();
    await bench.sleep(2_000);
    assert.equal(bench.asked(), asked);
  }));

test("a permit that may have been given although the answer was lost is given back", () =>
  onMemory(async (bench) => {
    const shared = concurrencyLimiter(bench.engine, "c", one);
    bench.failNext(unknown(), true);
    await assert.rejects(shared.tryEnter("k"), { outcome: "unknown" });
    assert.equal((await shared.tryEnter("k")).allowed, true);
  }));

test("a permit that cannot be given back is only logged when it was used up", () =>
  onMemory(async (bench) => {
    const failing: RatesEngine = {
      world: bench.engine.world,
      rates: { ...bench.engine.rates, leave: () => Promise.reject(unknown()) },
    };
    const shared = concurrencyLimiter(failing, "c", one);
    {
      await using permit = await shared.tryEnter("k");
      await assert.rejects(permit.release(), { outcome: "unknown" });
    }
    assert.deepEqual(bench.log, ["warn: a permit could not be given back; it ends by itself"]);
  }));
