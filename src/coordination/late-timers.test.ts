import assert from "node:assert/strict";
import { test } from "node:test";
import { simulatedWorld } from "../simulation/index.ts";
import type { Cancel, World } from "../world/world.ts";
import { LateTimers } from "./late-timers.ts";

/** Runs the work with timers that write down when they ring, by a clock that starts at 0, and counts the real ones that are made. */
async function withTimers(
  work: (bench: { readonly timers: LateTimers; readonly world: World; readonly made: number[] }) => Promise<void>,
): Promise<void> {
  const simulation = simulatedWorld({ seed: 1 });
  await simulation.run(async () => {
    const made: number[] = [];
    const { world } = simulation;
    const counting: World = {
      ...world,
      clock: world.clock,
      timers: {
        sleep: (ms, options) => world.timers.sleep(ms, options),
        schedule: (ms, fn, options): Cancel => {
          made.push(ms);
          return world.timers.schedule(ms, fn, options);
        },
      },
    };
    await work({ timers: new LateTimers(counting), world, made });
  });
}

test("late timers ring when they should, short and long ones, also those that keep the process alive", () =>
  withTimers(async ({ timers, world }) => {
    const startedAt = world.clock.monotonic();
    const rung: number[] = [];
    const ring = () => rung.push(Math.round(world.clock.monotonic() - startedAt));
    for (const ms of [1_000, 5, 100, 30]) timers.schedule(ms, ring);
    timers.schedule(200, ring, { keepsAlive: true });
    await world.timers.sleep(10);
    timers.schedule(60, ring);
    await world.timers.sleep(2_000);
    assert.deepEqual(rung, [5, 30, 70, 100, 200, 1_000]);
  }));

test("a late timer that is withdrawn never rings, however old it is", () =>
  withTimers(async ({ timers, world }) => {
    const fail = () => assert.fail("it was withdrawn");
    const young = timers.schedule(500, fail);
    const old = timers.schedule(500, fail, { keepsAlive: true });
    young();
    await world.timers.sleep(100);
    old();
    await world.timers.sleep(1_000);
    old();
  }));

test("for timers that are withdrawn at once a single real one is made", () =>
  withTimers(async ({ timers, world, made }) => {
    for (let count = 0; count < 1_000; count++) timers.schedule(30_000, () => undefined)();
    await world.timers.sleep(1_000);
    assert.equal(made.length, 1);
  }));
