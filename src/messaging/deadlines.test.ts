import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { simulatedWorld } from "../simulation/index.ts";
import type { World } from "../world/world.ts";
import { Deadlines, type Timed } from "./deadlines.ts";

const handlerTimeoutMs = 100;
const abandonAfterMs = 30;

interface Handler extends Timed {
  readonly name: number;
  readonly beganAt: number;
}

/** Handlers that say, by the clock, when they were told that they are late and when they were given up. */
class Handlers {
  readonly world: World;
  readonly handlerTimeoutMs = handlerTimeoutMs;
  readonly abandonAfterMs: number;
  readonly running = new Set<Handler>();
  readonly told: { readonly name: number; readonly what: "late" | "given up"; readonly afterMs: number }[] = [];
  readonly #deadlines: Deadlines<Handler>;

  constructor(world: World, abandonAfter = abandonAfterMs) {
    this.world = world;
    this.abandonAfterMs = abandonAfter;
    this.#deadlines = new Deadlines(this);
  }

  begin(name: number): Handler {
    const handler = { name, beganAt: this.world.clock.monotonic(), deadline: Number.POSITIVE_INFINITY, late: false };
    this.running.add(handler);
    return this.beginIn(handler);
  }

  /** Where another one ran before. */
  beginIn(handler: Handler): Handler {
    this.#deadlines.begin(handler);
    return handler;
  }

  /** It stays among those that may be running, as a slot does. */
  end(handler: Handler): void {
    this.#deadlines.end(handler);
  }

  timedOut({ name, beganAt }: Handler): void {
    this.told.push({ name, what: "late", afterMs: Math.round(this.world.clock.monotonic() - beganAt) });
  }

  abandon(handler: Handler): void {
    this.running.delete(handler);
    const { name, beganAt } = handler;
    this.told.push({ name, what: "given up", afterMs: Math.round(this.world.clock.monotonic() - beganAt) });
  }
}

async function withHandlers(
  work: (handlers: Handlers, world: World) => Promise<void>,
  abandonAfter?: number,
): Promise<void> {
  const simulation = simulatedWorld({ seed: 1 });
  await simulation.run(() => work(new Handlers(simulation.world, abandonAfter), simulation.world));
}

test("a handler that never ends is told so when its time is over, and is given up later; each once", () =>
  withHandlers(async (handlers, world) => {
    handlers.begin(1);
    await world.timers.sleep(1_000);
    assert.deepEqual(handlers.told, [
      { name: 1, what: "late", afterMs: handlerTimeoutMs },
      { name: 1, what: "given up", afterMs: handlerTimeoutMs + abandonAfterMs },
    ]);
  }));

test("while one is late that is given up much later, the others are told at their time", () =>
  withHandlers(async (handlers, world) => {
    handlers.begin(1);
    await world.timers.sleep(handlerTimeoutMs + 10);
    handlers.begin(2);
    await world.timers.sleep(20 * handlerTimeoutMs);
    assert.deepEqual(handlers.told, [
      { name: 1, what: "late", afterMs: handlerTimeoutMs },
      { name: 2, what: "late", afterMs: handlerTimeoutMs },
      { name: 1, what: "given up", afterMs: 11 * handlerTimeoutMs },
      { name: 2, what: "given up", afterMs: 11 * handlerTimeoutMs },
    ]);
  }, 10 * handlerTimeoutMs));

test("whatever begins and ends when, those and only those are told that run too long, at their time", async () => {
  const handler = fc.record({ afterMs: fc.nat({ max: 60 }), takesMs: fc.nat({ max: 500 }) });
  // Shorter, and longer, than a handler may take.
  const givenUpAfter = fc.constantFrom(abandonAfterMs, 2.5 * handlerTimeoutMs);
  await fc.assert(
    fc.asyncProperty(fc.array(handler, { maxLength: 30 }), givenUpAfter, (plan, abandonAfterMs) =>
      withHandlers(async (handlers, world) => {
        const expected: { readonly name: number; readonly what: string }[] = [];
        for (const [name, { afterMs, takesMs }] of plan.entries()) {
          await world.timers.sleep(afterMs);
          const begun = handlers.begin(name);
          void world.timers.sleep(takesMs).then(() => handlers.end(begun));
          if (takesMs > handlerTimeoutMs) expected.push({ name, what: "late" });
          if (takesMs > handlerTimeoutMs + abandonAfterMs) expected.push({ name, what: "given up" });
        }
        await world.timers.sleep(1_000);
        // Where both happen at one instant, either may come first.
        const close = plan.some(
          ({ takesMs }) =>
            Math.abs(takesMs - handlerTimeoutMs) < 2 || Math.abs(takesMs - handlerTimeoutMs - abandonAfterMs) < 2,
        );
        if (close) return;
        const order = (one: { name: number; what: string }) => `${one.name} ${one.what}`;
        assert.deepEqual(handlers.told.map(order).sort(), expected.map(order).sort());
        for (const { what, afterMs } of handlers.told) {
          const due = what === "late" ? handlerTimeoutMs : handlerTimeoutMs + abandonAfterMs;
          assert.ok(afterMs >= due && afterMs <= due + 2, `${what} after ${afterMs} ms`);
        }
      }, abandonAfterMs),
    ),
    { numRuns: 100 },
  );
});

test("a place where a handler ended serves the next one, whose time begins anew whether the first one was late or not", () =>
  withHandlers(async (handlers, world) => {
    const place = handlers.begin(1);
    await world.timers.sleep(handlerTimeoutMs - 10);
    handlers.end(place);
    handlers.beginIn(place);
    await world.timers.sleep(handlerTimeoutMs + 10);
    handlers.end(place);
    handlers.beginIn(place);
    await world.timers.sleep(handlerTimeoutMs + 10);
    handlers.end(place);
    await world.timers.sleep(1_000);
    assert.deepEqual(
      handlers.told.map(({ what }) => what),
      ["late", "late"],
    );
  }));

test("one that ends because another one is late is not late itself", () =>
  withHandlers(async (handlers, world) => {
    const begun = [1, 2].map((name) => handlers.begin(name));
    const told: number[] = [];
    handlers.timedOut = ({ name }) => {
      told.push(name);
      handlers.end(begun[1]!);
    };
    await world.timers.sleep(handlerTimeoutMs + 1);
    assert.deepEqual(told, [1]);
  }));
