import assert from "node:assert/strict";
import { test } from "node:test";
import { SimulatedCrash, simulatedWorld } from "../../../simulation/index.ts";
import type { World } from "../../../world/world.ts";
import type { JournaledEngine } from "../embedded-engine.ts";
import { fetched, laneOf, message, numbered, opened, published, reopened, segments, texts } from "../fixtures.test.ts";

const eventsMax = 200_000;
const orders = { partitions: 1, groups: ["billing"] };

/** Other messages fill a segment and more. */
async function rolled({ messages }: JournaledEngine): Promise<void> {
  for (const text of numbered(30, 300))
    await messages.append({ topic: "kept", partition: 0, messages: [message(text)] });
}

test("a removed topic stays removed while older segments still name its queues, and one of its name is new", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    await engine.messages.declare("kept", orders);
    await engine.messages.declare("orders", orders);
    for (const text of numbered(60, 300)) await published(engine, [text]);
    const dueAt = simulation.world.clock.now() + 60_000;
    await published(engine, numbered(20, 300), { dueAt });
    await engine.messages.remove("orders");
    // The newest segment's snapshot knows nothing of it.
    await rolled(engine);
    const before = await segments(simulation);
    assert.ok(before.length > 5, `only ${before.length} segments`);
    engine = await reopened(simulation);
    assert.deepEqual(await segments(simulation), before, "the removed topic's segments are still there");
    assert.deepEqual(await engine.messages.topics(), ["kept"]);
    await engine.messages.declare("orders", orders);
    assert.deepEqual(await published(engine, ["new"]), [0n]);
    await rolled(engine);
    for (let round = 0; round < 2; round++) {
      const { lane, member } = await laneOf(engine);
      assert.deepEqual(texts(await fetched(engine, lane, 1)), ["new"]);
      await member.leave();
      engine = await reopened(simulation);
    }
    await simulation.world.timers.sleep(120_000);
    const { groups, delayedCount } = await engine.messages.describe("orders");
    assert.deepEqual([groups[0]!.lanes[0]!.lag, delayedCount], [1, 0]);
    await engine.close();
  });
});

test("the space of a removed topic is given back, what is delayed included", async () => {
  const simulation = simulatedWorld({ seed: 2, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    await engine.messages.declare("orders", { ...orders, retentionMs: 3_600_000 });
    await engine.messages.declare("kept", orders);
    await engine.messages.append({ topic: "kept", partition: 0, messages: [message("kept")] });
    const dueAt = simulation.world.clock.now() + 3_600_000;
    for (const text of numbered(40, 300)) await published(engine, [text]);
    for (const text of numbered(40, 300)) await published(engine, [text], { dueAt });
    const full = engine.sizeBytes;
    await engine.messages.remove("orders");
    engine = await reopened(simulation);
    await engine.messages.declare("other", orders);
    await simulation.world.timers.sleep(20_000);
    assert.ok(engine.sizeBytes < full / 3, `${engine.sizeBytes} of ${full} bytes are left`);
    engine = await reopened(simulation);
    const { groups } = await engine.messages.describe("kept");
    assert.equal(groups[0]!.lanes[0]!.lag, 1);
    await engine.close();
  });
});

/** The world, with something that happens whenever a read of the disk has been answered. */
function withReads(world: World, answered: () => void): World {
  const { disk } = world;
  const open: World["disk"]["open"] = async (path, mode) => {
    const file = await disk.open(path, mode);
    return bound(file, {
      async read(position, into) {
        const count = await file.read(position, into);
        answered();
        return count;
      },
    });
  };
  return { ...world, disk: bound(disk, { open }) };
}

/** The same object with some of its methods replaced. */
function bound<T extends object>(object: T, replaced: Partial<T>): T {
  return new Proxy(object, {
    get(target, name) {
      if (name in replaced) return Reflect.get(replaced, name);
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

test("a topic may be removed while its messages are copied forward, whatever is being read for it", async () => {
  let reads = Number.POSITIVE_INFINITY;
  for (let removedAt = 1; removedAt <= reads; removedAt++) {
    const simulation = simulatedWorld({ seed: 3, eventsMax });
    await simulation.run(async () => {
      let engine = await opened(simulation);
      await engine.messages.declare("orders", orders);
      await engine.messages.declare("kept", orders);
      const dueAt = simulation.world.clock.now() + 600_000;
      for (const text of numbered(10, 200)) {
        await published(engine, [text]);
        await published(engine, [text], { dueAt });
        await engine.messages.append({ topic: "kept", partition: 0, messages: [message(text)] });
      }
      for (const text of numbered(40, 300))
        await engine.keyValue.commit([{ type: "put", key: "k", value: Buffer.from(text) }]);
      simulation.crash("lost");
      let count = 0;
      let removed: Promise<void> | undefined;
      const world = withReads(simulation.restart(), () => {
        count += 1;
        if (count === removedAt) removed = engine?.messages.remove("orders");
      });
      engine = await opened(simulation, { world });
      count = 0;
      await engine.cleaner.clean();
      reads = Math.min(reads, count);
      await (removed ?? engine.messages.remove("orders"));
      engine = await reopened(simulation);
      assert.deepEqual(await engine.messages.topics(), ["kept"]);
      const { groups } = await engine.messages.describe("kept");
      assert.equal(groups[0]!.lanes[0]!.lag, 10);
      await engine.close();
    });
  }
  assert.ok(reads > 3, `only ${reads} reads`);
});

test("a topic may be removed while its delayed messages come due", async () => {
  for (let early = 0; early < 8; early++) {
    const simulation = simulatedWorld({ seed: 4, eventsMax });
    await simulation.run(async () => {
      let engine = await opened(simulation);
      await engine.messages.declare("orders", orders);
      const dueAt = simulation.world.clock.now() + 1_000;
      // Some of them are read from the disk when they come due.
      for (const text of numbered(30, 300)) await published(engine, [text], { dueAt });
      engine = await reopened(simulation);
      await simulation.world.timers.sleep(Math.max(0, dueAt - simulation.world.clock.now() + early));
      await engine.messages.remove("orders");
      await simulation.world.timers.sleep(2_000);
      await engine.messages.declare("orders", orders);
      assert.deepEqual(await published(engine, ["new"]), [0n]);
      engine = await reopened(simulation);
      const { groups, delayedCount } = await engine.messages.describe("orders");
      assert.deepEqual([groups[0]!.lanes[0]!.lag, delayedCount], [1, 0]);
      await engine.close();
    });
  }
});

/** Each step, and what an opening after it finds. */
const steps: readonly (readonly [(engine: JournaledEngine) => Promise<unknown>, string])[] = [
  [({ messages }) => messages.declare("orders", { ...orders, countMax: 3, whenFull: "evict" }), "3: billing 0 to 0"],
  [(engine) => published(engine, ["m0", "m1", "m2"]), "3: billing 0 to 3"],
  [(engine) => published(engine, ["m3", "m4"]), "3: billing 2 to 5"],
  [({ messages }) => messages.declare("orders", { ...orders, countMax: 9 }), "9: billing 2 to 5"],
  [({ messages }) => messages.remove("orders"), "nothing"],
  [({ messages }) => messages.declare("orders", orders), "undefined: billing 0 to 0"],
  [(engine) => published(engine, ["n0"]), "undefined: billing 0 to 1"],
  [({ messages }) => messages.join("orders", "mine", ephemeral), "undefined: billing 0 to 1"],
  [({ messages }) => messages.removeGroup("orders", "billing"), "undefined:"],
];

const ephemeral = { sessionMs: 1_000, revokeMs: 0, windowMax: 1, ephemeral: true };

async function found({ messages }: JournaledEngine): Promise<string> {
  if ((await messages.topics()).length === 0) return "nothing";
  const { groups, partitions, countMax } = await messages.describe("orders");
  const progress = groups.map(({ group, lanes }) => ` ${group} ${lanes[0]!.low} to ${partitions[0]!.next}`);
  return `${countMax}:${progress.join(",")}`;
}

test("removing, declaring anew and evicting are whole or not at all, at whatever moment the machine dies", async () => {
  const states = ["nothing", ...steps.map(([, state]) => state)];
  let whole = false;
  for (let dies = 1; !whole; dies++) {
    const simulation = simulatedWorld({ seed: dies, eventsMax });
    simulation.disk.crashAtOperation(dies, "during");
    let done = 0;
    const run = simulation.run(async () => {
      const engine = await opened(simulation);
      for (const [step] of steps) {
        await step(engine);
        done += 1;
      }
      await engine.close();
    });
    whole = await run.then(
      () => true,
      (error) => {
        assert.ok(error instanceof SimulatedCrash, String(error));
        return false;
      },
    );
    simulation.disk.clearFaults();
    for (let opening = 0; opening < 2; opening++) {
      if (whole || opening > 0) simulation.crash("lost");
      simulation.restart();
      const state = await simulation.run(async () => found(await opened(simulation)));
      const allowed = states.slice(done, done + 2);
      assert.ok(allowed.includes(state), `crash ${dies} after step ${done}: ${state} is none of ${allowed.join(", ")}`);
    }
    assert.ok(dies < 1_000, "the run never ends");
  }
});
