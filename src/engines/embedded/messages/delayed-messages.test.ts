import assert from "node:assert/strict";
import { test } from "node:test";
import { simulatedWorld } from "../../../simulation/index.ts";
import { fetched, laneOf, message, numbered, opened, published, reopened, texts } from "../fixtures.test.ts";

const orders = { partitions: 1, groups: ["billing"] };
const eventsMax = 100_000;
/** Large enough to push what came before out of the journal's memory, so that it is read from the disk. */
const filling = 1024 * 1024;

test("a delayed message that cannot be read at its instant comes later, and holds back no other", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation, { segmentBytes: 64 * filling });
    await engine.messages.declare("orders", orders);
    const dueAt = simulation.world.clock.now() + 10_000;
    await published(engine, ["first"], { dueAt });
    await published(engine, ["second"], { dueAt: dueAt + 1 });
    // After reopening nothing is in memory.
    engine = await reopened(simulation, { segmentBytes: 64 * filling });
    const fault = simulation.disk.failOperation(1, "io", "once", { kinds: ["read"] });
    const { lane } = await laneOf(engine);
    assert.deepEqual(texts(await fetched(engine, lane, 2)), ["second", "first"]);
    assert.ok(fault.struck);
    assert.equal((await engine.messages.describe("orders")).delayedCount, 0);
    await engine.close();
  });
});

test("a delayed message is counted as waiting until it can be fetched", async () => {
  const simulation = simulatedWorld({ seed: 2, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    await engine.messages.declare("orders", orders);
    await published(engine, numbered(5), { dueAt: simulation.world.clock.now() + 1_000 });
    const ends = simulation.nowMs + 3_000;
    while (simulation.nowMs < ends) {
      const { delayedCount, groups } = await engine.messages.describe("orders");
      assert.equal(delayedCount + groups[0]!.lanes[0]!.lag, 5, `at ${simulation.nowMs} ms`);
      await simulation.world.timers.sleep(0.1);
    }
    await engine.close();
  });
});

test("the id of a delayed message is known while it waits, when it is due, and after reopening", async () => {
  const simulation = simulatedWorld({ seed: 3, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    await engine.messages.declare("orders", orders);
    const delayed = { id: "the id", dueAt: simulation.world.clock.now() + 30_000 };
    assert.deepEqual(await published(engine, ["once"], delayed), [undefined]);
    assert.deepEqual(await published(engine, ["once"], delayed), [undefined]);
    engine = await reopened(simulation);
    assert.deepEqual(await published(engine, ["once"], delayed), [undefined]);
    assert.equal((await engine.messages.describe("orders")).delayedCount, 1);
    await simulation.world.timers.sleep(32_000);
    await published(engine, ["once"], delayed);
    engine = await reopened(simulation);
    await published(engine, ["once"], delayed);
    const { delayedCount, groups } = await engine.messages.describe("orders");
    assert.deepEqual([delayedCount, groups[0]!.lanes[0]!.lag], [0, 1]);
    await engine.close();
  });
});

test("a batch of many delayed messages is there as a whole or not at all, wherever the segment ends", async () => {
  for (let n = 1, struck = true; struck; n += 1) {
    const simulation = simulatedWorld({ seed: n, eventsMax });
    const dueAt = simulation.world.clock.now() + 600_000;
    const crash = simulation.disk.crashAtOperation(n, "during", { kinds: ["append", "sync"], outcome: "lost" });
    await simulation
      .run(async () => {
        const engine = await opened(simulation);
        await engine.messages.declare("orders", orders);
        await published(engine, ["x".repeat(1_500)]);
        const messages = numbered(60).map((text) => message(text, { dueAt }));
        await engine.messages.append({ topic: "orders", partition: 0, messages });
      })
      .catch((error: unknown) => {
        if (!crash.struck) throw error;
      });
    struck = crash.struck;
    crash.cancel();
    if (!struck) simulation.crash("lost");
    simulation.restart();
    await simulation.run(async () => {
      const engine = await opened(simulation);
      await engine.messages.declare("orders", orders);
      const { delayedCount } = await engine.messages.describe("orders");
      assert.ok([0, 60].includes(delayedCount), `${delayedCount} of 60 are there, crash at ${n}`);
      assert.ok(struck || delayedCount === 60);
      await engine.close();
    });
  }
});
