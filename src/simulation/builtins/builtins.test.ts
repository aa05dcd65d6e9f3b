import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import nodeCrypto, {
  getRandomValues,
  randomBytes,
  randomFill,
  randomFillSync,
  randomInt,
  randomUUID,
} from "node:crypto";
import { EventEmitter } from "node:events";
import * as performanceHooks from "node:perf_hooks";
import { hrtime } from "node:process";
import { PassThrough, Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import * as timers from "node:timers";
import { clearTimeout as clearImported, setTimeout as setImported } from "node:timers";
import * as timerPromises from "node:timers/promises";
import { scheduler, setTimeout as sleepImported } from "node:timers/promises";
import { promisify } from "node:util";
import { ambientWorld, inWorld, outsideWorlds } from "../../world/ambient.ts";
import type { World } from "../../world/world.ts";
import { type Simulation, simulatedWorld } from "../simulation.ts";
import { simulateBuiltins } from "./builtins.ts";
import type { Escape } from "./escapes.ts";

/** As modules save them that are loaded before a simulation begins. */
const saved = {
  setTimeout,
  setInterval,
  setImmediate,
  clearTimeout,
  clearImmediate,
  sleep: promisify(setTimeout),
  wait: timerPromises.setTimeout,
  tick: promisify(setImmediate),
};

const STARTS_AT = Date.UTC(2031, 4, 6);

interface Scene {
  readonly simulation: Simulation;
  readonly world: World;
  readonly escapes: readonly Escape[];
  /** Runs it as the code of the simulated process, and drives virtual time until it is done. */
  inside<Result>(main: () => Promise<Result> | Result): Promise<Result>;
}

function scene(context: TestContext, seed = 1): Scene {
  const escapes: Escape[] = [];
  const builtins = simulateBuiltins({ escaped: (what) => escapes.push(what) });
  context.after(() => builtins[Symbol.dispose]());
  const simulation = simulatedWorld({ seed, startsAt: STARTS_AT });
  const { world } = simulation;
  return {
    simulation,
    world,
    escapes,
    inside: async (main) => {
      const result = await simulation.run(() => inWorld(world, main));
      assert.deepEqual(escapes, []);
      return result;
    },
  };
}

test("dates without an instant are of the World's clock, and others are what they say", async (context) => {
  const { inside, world } = scene(context);
  await inside(async () => {
    await world.timers.sleep(250);
    assert.equal(Date.now(), STARTS_AT + 250);
    assert.equal(new Date().toISOString(), "2031-05-06T00:00:00.250Z");
    assert.match((Date as unknown as () => string)(), /2031/);
    assert.equal(new Date(5).getTime(), 5);
    assert.equal(new Date(2001, 1).getFullYear(), 2001);
    assert.equal(new Date("1999-01-01").toISOString(), "1999-01-01T00:00:00.000Z");
    assert.equal(Date.UTC(2000, 0), 946_684_800_000);
    assert.match(new Intl.DateTimeFormat("en").format(), /2031/);
    assert.ok(new Intl.DateTimeFormat("en").formatToParts().some((part) => part.value === "2031"));
  });
});

test("a simulated date cannot be told from a real one", async (context) => {
  const before = new Date(7);
  const { inside } = scene(context);
  await inside(() => {
    class Birthday extends Date {
      readonly cake = true;
    }
    const date = new Date();
    assert.ok(date instanceof Date);
    assert.equal(date.constructor, Date);
    assert.equal(Object.getPrototypeOf(date), Date.prototype);
    assert.equal(Date.name, "Date");
    assert.equal(Date.length, 7);
    assert.ok(before instanceof Date);
    assert.ok(new Birthday() instanceof Birthday);
    assert.equal(new Birthday().getTime(), STARTS_AT);
    assert.equal(new Birthday(9).getTime(), 9);
    assert.deepEqual(structuredClone(date), date);
  });
  assert.ok(new Date() instanceof Date);
});

test("clocks that never go back follow the World's", async (context) => {
  const { inside, world, simulation } = scene(context);
  await inside(async () => {
    const start = process.hrtime();
    const origin = performance.timeOrigin;
    await world.timers.sleep(1_234.5);
    simulation.stepClock(-60_000);
    assert.equal(performance.now(), 1_234.5);
    assert.equal(performanceHooks.performance.now(), 1_234.5);
    assert.equal(performance.timeOrigin, origin);
    assert.equal(origin, STARTS_AT);
    assert.equal(process.uptime(), 1.2345);
    assert.equal(process.hrtime.bigint(), 1_234_500_000n);
    assert.equal(hrtime.bigint(), 1_234_500_000n);
    assert.deepEqual(process.hrtime(start), [1, 234_500_000]);
    assert.equal(performance.mark("now").startTime, 1_234.5);
    await world.timers.sleep(1);
    assert.equal(performance.measure("since", "now").duration, 1);
  });
});

test("timers take virtual time, in the order of their instants", async (context) => {
  const { inside, simulation } = scene(context);
  const seen: string[] = [];
  await inside(async () => {
    setTimeout(() => seen.push(`after an hour at ${Date.now() - STARTS_AT}`), 3_600_000);
    setImported((what: string) => seen.push(what), 10, "named import");
    timers.setTimeout(() => seen.push("namespace"), 9);
    setImmediate((what) => seen.push(what), "immediate");
    const interval = setInterval(() => seen.push("tick"), 3);
    await sleepImported(8.9);
    clearInterval(interval);
    assert.equal(await timerPromises.setTimeout(1_000, "value"), "value");
    await promisify(setTimeout)(3_600_000);
    assert.equal(await promisify(setImmediate)("now"), "now");
    await scheduler.wait(5);
    await scheduler.yield();
  });
  assert.deepEqual(seen, ["immediate", "tick", "tick", "namespace", "named import", "after an hour at 3600000"]);
  assert.equal(simulation.nowMs, 8 + 1_000 + 3_600_000 + 5);
});

test("a delay that Node does not accept is 1 ms, as in Node", async (context) => {
  const { inside, simulation } = scene(context);
  await inside(async () => {
    for (const delay of [0, -1, Number.NaN, 2 ** 31, undefined]) {
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
    assert.throws(() => setTimeout("code" as never, 1), { code: "ERR_INVALID_ARG_TYPE" });
  });
  assert.equal(simulation.nowMs, 5);
});

test("handles can do what those of Node can", async (context) => {
  const { inside, world } = scene(context);
  const seen: string[] = [];
  await inside(async () => {
    const timeout = setTimeout(() => seen.push("refreshed"), 10);
    assert.equal(timeout.hasRef(), true);
    assert.equal(timeout.unref().hasRef(), false);
    assert.equal(timeout.ref().hasRef(), true);
    await world.timers.sleep(6);
    timeout.refresh();
    await world.timers.sleep(6);
    assert.equal(seen.length, 0);
    await world.timers.sleep(6);
    assert.deepEqual(seen, ["refreshed"]);
    timeout.refresh();
    await world.timers.sleep(10);
    assert.deepEqual(seen, ["refreshed", "refreshed"]);

    clearTimeout(+setTimeout(() => seen.push("cleared by number"), 1));
    clearTimeout(String(+setTimeout(() => seen.push("cleared by text"), 1)));
    setTimeout(() => seen.push("closed"), 1).close();
    setTimeout(() => seen.push("disposed"), 1)[Symbol.dispose]();
    clearInterval(setTimeout(() => seen.push("cleared as an interval"), 1));
    clearImmediate(setImmediate(() => seen.push("immediate")));
    setImmediate(() => seen.push("disposed immediate"))[Symbol.dispose]();
    clearTimeout(undefined);
    clearTimeout(12_345);
    const self = setInterval(function (this: unknown) {
      assert.equal(this, self);
      seen.push("once");
      clearInterval(self);
    }, 1);
    await world.timers.sleep(50);
  });
  assert.deepEqual(seen, ["refreshed", "refreshed", "once"]);
});

test("timers are cancelled across the border, in both directions", async (context) => {
  const { inside, world } = scene(context);
  const seen: string[] = [];
  const real = setTimeout(() => seen.push("real"), 1);
  inWorld(world, () => clearTimeout(real));
  const simulated = await inside(() => setTimeout(() => seen.push("simulated"), 1));
  clearImported(simulated);
  await inside(() => world.timers.sleep(10));
  // Real timers of 1 ms are due before it.
  await timerPromises.setTimeout(5);
  assert.deepEqual(seen, []);
});

test("functions that were saved before the simulation take virtual time too", async (context) => {
  const { inside, world, simulation } = scene(context);
  const seen: unknown[] = [];
  await inside(async () => {
    assert.equal(await saved.sleep(3_600_000, "slept"), "slept");
    assert.equal(await saved.tick("ticked"), "ticked");
    const controller = new AbortController();
    saved.setTimeout((what: string) => controller.abort(seen.push(what)), 5, "aborts");
    await assert.rejects(saved.wait(1_000, undefined, { signal: controller.signal }), { name: "AbortError" });
    const interval = saved.setInterval(() => seen.push("tick"), 10);
    saved.setTimeout(() => saved.clearTimeout(interval), 25);
    const refreshed = saved.setTimeout(() => seen.push(performance.now() - 3_600_005), 30);
    saved.setImmediate((what: string) => seen.push(what), "immediate");
    saved.clearImmediate(saved.setImmediate(() => seen.push("cleared immediate")));
    saved.clearTimeout(saved.setTimeout(() => seen.push("cleared"), 1));
    clearTimeout(saved.setTimeout(() => seen.push("cleared by the replacement"), 1));
    saved.setTimeout(() => seen.push("closed"), 1).close();
    await world.timers.sleep(20);
    refreshed.refresh();
    await saved.wait(100);
    assert.equal(ambientWorld(), world);
  });
  assert.equal(simulation.nowMs, 3_600_125);
  assert.deepEqual(seen, ["aborts", "immediate", "tick", "tick", 50]);
});

test("waiting ends when its signal aborts, with Node's own error", async (context) => {
  const { inside, simulation } = scene(context);
  await inside(async () => {
    const controller = new AbortController();
    const { signal } = controller;
    setTimeout(() => controller.abort(new Error("enough")), 5);
    await assert.rejects(sleepImported(1_000, undefined, { signal }), { name: "AbortError", code: "ABORT_ERR" });
    await assert.rejects(sleepImported(1_000, undefined, { signal }), { cause: new Error("enough") });
    await assert.rejects(timerPromises.setImmediate(undefined, { signal }), { name: "AbortError" });
    await assert.rejects(sleepImported(1, undefined, { signal: "none" as never }), { code: "ERR_INVALID_ARG_TYPE" });
  });
  assert.equal(simulation.nowMs, 5);
});

test("an interval of promises makes up for the ticks that nobody asked for", async (context) => {
  const { inside, world } = scene(context);
  await inside(async () => {
    const controller = new AbortController();
    const at: number[] = [];
    for await (const value of timerPromises.setInterval(10, "tick")) {
      assert.equal(value, "tick");
      at.push(performance.now());
      if (at.length === 1) await world.timers.sleep(25);
      if (at.length === 4) break;
    }
    assert.deepEqual(at, [10, 35, 35, 40]);
    setTimeout(() => controller.abort(), 15);
    const ticks = timerPromises.setInterval(10, 1, { signal: controller.signal });
    await ticks.next();
    await assert.rejects(ticks.next(), { name: "AbortError" });
  });
});

test("AbortSignal.timeout takes virtual time", async (context) => {
  const { inside, simulation } = scene(context);
  await inside(async () => {
    const signal = AbortSignal.timeout(5_000);
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    assert.equal(signal.reason.name, "TimeoutError");
    assert.throws(() => AbortSignal.timeout(-1));
  });
  assert.equal(simulation.nowMs, 5_000);
});

test("chance comes from the seed, however it is asked for", async (context) => {
  const draw = async (seed: number) => {
    const { inside } = scene(context, seed);
    return inside(async () => [
      Math.random(),
      crypto.randomUUID(),
      randomUUID(),
      nodeCrypto.randomUUID(),
      [...crypto.getRandomValues(new Uint16Array(3))],
      [...getRandomValues(new Uint8Array(3))],
      randomBytes(5).toString("hex"),
      (await promisify(randomBytes)(5)).toString("hex"),
      randomInt(1_000_000),
      randomInt(-5, 1_000_000),
      await promisify<number, number, number>(randomInt)(5, 1_000_000),
      [...randomFillSync(new Uint32Array(4), 1, 2)],
      [...(await promisify<Uint8Array, Uint8Array>(randomFill)(new Uint8Array(3)))],
    ]);
  };
  const first = await draw(1);
  assert.deepEqual(await draw(1), first);
  const other = await draw(2);
  for (const [index, drawn] of first.entries()) assert.notDeepEqual(other[index], drawn, `draw ${index}`);
  assert.equal((first[11] as number[])[0], 0);
  assert.equal((first[11] as number[])[3], 0);
});

test("what real chance does not accept, simulated chance refuses", async (context) => {
  const { inside } = scene(context);
  await inside(() => {
    assert.throws(() => randomBytes(-1), { code: "ERR_OUT_OF_RANGE" });
    assert.throws(() => randomInt(5, 5), { code: "ERR_OUT_OF_RANGE" });
    assert.throws(() => randomInt(2 ** 50), { code: "ERR_OUT_OF_RANGE" });
    assert.throws(() => randomFill(new Uint8Array(1), undefined as never), { code: "ERR_INVALID_ARG_TYPE" });
    assert.throws(() => randomFillSync(new Uint8Array(1), 2), { code: "ERR_OUT_OF_RANGE" });
    assert.throws(() => crypto.getRandomValues(new Float64Array(1) as never), { name: "TypeMismatchError" });
    assert.throws(() => crypto.getRandomValues(new Uint8Array(65_537)), { name: "QuotaExceededError" });
  });
});

test("fetch goes where the simulation sends it", async (context) => {
  using _builtins = simulateBuiltins({
    escaped: (what) => assert.fail(what.call),
    fetchOver: (world) => async (input) => new Response(`${input} at ${world.clock.now()}`),
  });
  const { world } = simulatedWorld({ seed: 1, startsAt: 5 });
  assert.equal(await inWorld(world, async () => (await fetch("http://shop/")).text()), "http://shop/ at 5");
  context.diagnostic("outside it is the real one");
  assert.equal(await (await fetch("data:,real")).text(), "real");
});

test("everything that a process sets off lives in its World, and keeps the contexts of its own", async (context) => {
  const { inside, world } = scene(context);
  const requests = new AsyncLocalStorage<string>();
  const check = (what: string) => {
    assert.equal(ambientWorld(), world, what);
    assert.equal(requests.getStore(), "r-1", what);
  };
  await inside(() =>
    requests.run("r-1", async () => {
      await undefined;
      check("await");
      await Promise.resolve().then(() => check("then"));
      await new Promise<void>((resolve) => queueMicrotask(() => resolve(check("queueMicrotask"))));
      await new Promise<void>((resolve) => process.nextTick(() => resolve(check("nextTick"))));
      await new Promise<void>((resolve) => setTimeout(() => resolve(check("setTimeout")), 1));
      await new Promise<void>((resolve) => setImmediate(() => resolve(check("setImmediate"))));
      await new Promise<void>((resolve) => void randomBytes(1, () => resolve(check("randomBytes"))));
      const emitter = new EventEmitter();
      emitter.on("event", () => check("an emitter's listener"));
      emitter.emit("event");
      const stream = new PassThrough({ objectMode: true, transform: (chunk, _encoding, done) => done(null, chunk) });
      for await (const _chunk of Readable.from([1, 2]).pipe(stream)) check("a stream");
      const text = await new Response(ReadableStream.from([new TextEncoder().encode("a")])).text();
      check(`a web stream with ${text}`);
    }),
  );
});

test("outside of simulated processes everything is as it was, and afterwards everywhere", async (context) => {
  const originals = {
    Date,
    setTimeout,
    clearImmediate,
    fetch,
    random: Math.random,
    uptime: process.uptime,
    randomUUID,
  };
  const descriptor = Object.getOwnPropertyDescriptor(globalThis, "setTimeout");
  const outer = simulateBuiltins({ escaped: () => {} });
  const inner = simulateBuiltins({ escaped: () => {} });
  assert.notEqual(setTimeout, originals.setTimeout);
  assert.notEqual(randomUUID, originals.randomUUID);
  assert.ok(Math.abs(Date.now() - originals.Date.now()) < 60_000);
  assert.ok(new Date() instanceof originals.Date);
  assert.notEqual(randomUUID(), randomUUID());
  await new Promise((resolve) => setTimeout(resolve, 1));
  await timerPromises.setImmediate();
  const { world } = simulatedWorld({ seed: 1 });
  inWorld(world, () => outsideWorlds(() => assert.ok(performance.now() > 0)));
  outer[Symbol.dispose]();
  outer[Symbol.dispose]();
  assert.notEqual(setTimeout, originals.setTimeout);
  inner[Symbol.dispose]();
  const { random } = Math;
  assert.deepEqual({ Date, setTimeout, clearImmediate, fetch, random, uptime: process.uptime, randomUUID }, originals);
  assert.deepEqual(Object.getOwnPropertyDescriptor(globalThis, "setTimeout"), descriptor);
  assert.equal(Date.prototype.constructor, Date);
  context.diagnostic("a World is of no effect any more");
  assert.notEqual(inWorld(world, Date.now), world.clock.now());
});
