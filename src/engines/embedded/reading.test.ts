import assert from "node:assert/strict";
import { test } from "node:test";
import { simulatedWorld } from "../../simulation/index.ts";
import { fetched, laneOf, numbered, opened, published, reopened, segments, settled, texts } from "./fixtures.test.ts";

const put = (key: string, round: number) =>
  ({ type: "put", key, value: Buffer.from(`${round} `.padEnd(1_500, ".")) }) as const;
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

test("a large value that is overwritten while its segment is cleaned away is found, old or new, and watched", async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const simulation = simulatedWorld({ seed, eventsMax: 1_000_000, diskLatency: { minMs: 0.01, maxMs: 3 } });
    await simulation.run(async () => {
      const first = await opened(simulation);
      for (let round = 0; round < 20; round++) {
        await first.keyValue.commit([put(`key ${round}`, 0)]);
        for (let i = 0; i < 3; i++) await first.keyValue.commit([put("garbage", i)]);
      }
      const engine = await reopened(simulation);
      const { keyValue } = engine;
      const pause = () => simulation.world.timers.sleep(simulation.world.random.float() * 2);
      const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`);
      let busy = true;
      const last = new Map<string, string>();
      const readers = [
        async () => {
          while (busy) {
            assert.equal((await keyValue.get(keys)).filter((entry) => entry?.value.length === 1_500).length, 20);
            await pause();
          }
        },
        async () => {
          while (busy) {
            assert.equal((await keyValue.scan("key")).length, 20);
            await pause();
          }
        },
        async () => {
          while (busy) {
            const key = keys[Math.floor(simulation.world.random.float() * 20)]!;
            const result = await keyValue.commit([{ ...put(key, 0), condition: { ifAbsent: true } }]);
            assert.equal(!result.committed && result.current?.value.length, 1_500);
            await pause();
          }
        },
      ].map((reader) => reader());
      const watching = (async () => {
        for await (const event of keyValue.watch("key", { signal: engine.ended })) {
          if (event.type === "put") last.set(event.entry.key, Buffer.from(event.entry.value).toString().trim());
          await simulation.world.timers.sleep(20);
        }
      })();
      const cleaned = engine.cleaner.clean();
      for (let round = 1; round <= 3; round++) {
        for (const key of keys) {
          await keyValue.commit([put(key, round)]);
          if (simulation.world.random.float() < 0.3) await pause();
        }
        await engine.cleaner.clean();
      }
      await cleaned;
      busy = false;
      await Promise.all(readers);
      await simulation.world.timers.sleep(2_000);
      assert.deepEqual([...last.values()], new Array(20).fill("3 ".padEnd(1_500, ".")));
      await engine.close();
      await watching;
    });
  }
});

test("a read that fails in the middle of a fetch costs no message", async () => {
  const all = numbered(60, 200);
  for (let n = 1; ; n++) {
    const simulation = simulatedWorld({ seed: n });
    const struck = await simulation.run(async () => {
      const first = await opened(simulation);
      await first.messages.declare("orders", orders);
      for (const text of all) await published(first, [text]);
      const engine = await reopened(simulation);
      const { lane } = await laneOf(engine);
      const fault = simulation.disk.failOperation(n, "io", "once", { kinds: ["read"] });
      const stored: string[] = [];
      while (stored.at(-1) !== all.at(-1)) {
        stored.push(...texts(await lane.fetch(all.length).catch(() => [])));
      }
      assert.deepEqual(stored, all, `read ${n} failed`);
      fault.cancel();
      await engine.close();
      return fault.struck;
    });
    if (!struck) return assert.ok(n > 3, `only ${n - 1} reads`);
  }
});
