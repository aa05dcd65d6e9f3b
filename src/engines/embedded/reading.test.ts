import assert from "node:assert/strict";
import { test } from "node:test";
import { simulatedWorld } from "../../simulation/index.ts";
import { fetched, laneOf, numbered, opened, published, reopened, segments, settled, texts } from "./fixtures.test.ts";

const orders = { partitions: 1, groups: ["billing"] };
const joining = { sessionMs: 10_000, revokeMs: 1_000, windowMax: 1_000 };

test("whoever reads or describes while segments are cleaned away below meets no error", async () => {
  let dropped = 0;
  for (let seed = 1; seed <= 10; seed++) {
    const simulation = simulatedWorld({ seed, eventsMax: 1_000_000, diskLatency: { minMs: 0.01, maxMs: 3 } });
    await simulation.run(async () => {
      const first = await opened(simulation);
      const startedAt = simulation.world.clock.now();
      await first.messages.declare("orders", orders);
      const all = numbered(120, 200);
      for (const text of all) await published(first, [text]);
      await settled(first, 119);
      const engine = await reopened(simulation);
      const before = await segments(simulation);
      let cleaning = true;
      const cleaned = engine.cleaner.clean().finally(() => {
        cleaning = false;
      });
      const joined = async (name: string) => {
        for (let count = 0; cleaning; count++) {
          const group = `${name} ${count}`;
          const member = await engine.messages.join("orders", group, {
            ...joining,
            from: count % 2 === 0 ? { at: startedAt } : "earliest",
          });
          const lane = await member.nextLane();
          for (let left = 3; cleaning && left > 0; left--) {
            assert.ok(all.includes(texts(await lane.fetch(1))[0]!));
            await simulation.world.timers.sleep(simulation.world.random.float() * 4);
          }
          await engine.messages.describe("orders");
        }
      };
      await Promise.all([cleaned, ...["a", "b", "c", "d", "e", "f"].map(joined)]);
      dropped += before.length - (await segments(simulation)).length;
      const { lane } = await laneOf(engine);
      assert.deepEqual(texts(await fetched(engine, lane, 1)), all.slice(119));
      await engine.close();
    });
  }
  assert.ok(dropped > 0, "nothing was cleaned");
});
