import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { simulatedWorld } from "../simulation/index.ts";
import { RetrySchedule } from "./retry-schedule.ts";

test("whatever is added and when, everything leaves in order of its instant and never before it", async () => {
  const steps = fc.array(fc.record({ afterMs: fc.nat({ max: 50 }), waitMs: fc.nat({ max: 300 }) }), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(steps, async (additions) => {
      const simulation = simulatedWorld({ seed: 1 });
      const { world } = simulation;
      await simulation.run(async () => {
        const left: { dueAt: number; at: number }[] = [];
        const schedule = new RetrySchedule<{ dueAt: number }>(world, ({ dueAt }) =>
          left.push({ dueAt, at: world.clock.now() }),
        );
        for (const { afterMs, waitMs } of additions) {
          await world.timers.sleep(afterMs);
          schedule.add({ dueAt: world.clock.now() + waitMs });
        }
        await world.timers.sleep(400);
        assert.equal(left.length, additions.length);
        for (const { dueAt, at } of left) assert.ok(at >= dueAt && at <= dueAt + 1, `due ${dueAt}, left ${at}`);
      });
    }),
    { numRuns: 50 },
  );
});

test("a clock that is set back delays, a clock that is set forward is noticed within a minute", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const { world } = simulation;
  await simulation.run(async () => {
    const left: string[] = [];
    const schedule = new RetrySchedule<{ dueAt: number; name: string }>(world, ({ name }) => left.push(name));
    schedule.add({ name: "soon", dueAt: world.clock.now() + 1_000 });
    schedule.add({ name: "late", dueAt: world.clock.now() + 3_600_000 });
    simulation.stepClock(-10_000);
    await world.timers.sleep(5_000);
    assert.deepEqual(left, []);
    await world.timers.sleep(10_000);
    assert.deepEqual(left, ["soon"]);
    simulation.stepClock(3_600_000);
    await world.timers.sleep(61_000);
    assert.deepEqual(left, ["soon", "late"]);
    schedule.add({ name: "never", dueAt: world.clock.now() + 10 });
    schedule.stop();
    await world.timers.sleep(1_000);
    assert.deepEqual(left, ["soon", "late"]);
  });
});
