import assert from "node:assert/strict";
import { test } from "node:test";
import type { WatchEvent } from "../../../contracts/key-value.ts";
import { simulatedWorld } from "../../../simulation/index.ts";
import { directory, opened, reopened, segments } from "../fixtures.test.ts";

const eventsMax = 200_000;

test("a reader is never told of a delete that a crash takes back", async () => {
  for (let seed = 1; seed <= 3; seed++) {
    for (const look of ["get", "scan"] as const) {
      const simulation = simulatedWorld({ seed, eventsMax });
      await simulation.run(async () => {
        let engine = await opened(simulation);
        await engine.keyValue.commit([{ type: "put", key: "key", value: Buffer.from("1") }]);
        void engine.keyValue.commit([{ type: "delete", key: "key" }]);
        const found = look === "get" ? await engine.keyValue.get(["key"]) : await engine.keyValue.scan("");
        assert.equal(found.filter((entry) => entry !== undefined).length, 0);
        engine = await reopened(simulation);
        assert.deepEqual(await engine.keyValue.get(["key"]), [undefined], `${look} told of what was not durable`);
        await engine.close();
      });
    }
  }
});

test("keys whose time has passed vanish also when opening takes longer than that", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    for (let n = 0; n < 30; n++) {
      await engine.keyValue.commit([{ type: "put", key: `key ${n}`, value: Buffer.alloc(900), ttlMs: 1_000 + n }]);
    }
    assert.ok((await segments(simulation)).length > 5);
    await engine.close();
    const { disk, timers } = simulation.world;
    // Every look at the disk takes a while, so that the keys' time passes while the journal is read.
    const open: typeof disk.open = async (path, mode) => {
      await timers.sleep(700);
      return disk.open(path, mode);
    };
    const slowDisk = new Proxy(disk, {
      get: (target, name) => (name === "open" ? open : Reflect.get(target, name, target).bind(target)),
    });
    engine = await opened(simulation, { world: { ...simulation.world, disk: slowDisk } });
    assert.deepEqual(await engine.keyValue.scan(""), []);
    await timers.sleep(3_000);
    await engine.keyValue.commit([{ type: "put", key: "after", value: Buffer.from("1"), ttlMs: 1_000 }]);
    await timers.sleep(3_000);
    assert.deepEqual(await engine.keyValue.scan(""), []);
    await engine.close();
  });
});

test("an engine that could not be opened leaves nothing behind that acts later", async () => {
  const simulation = simulatedWorld({ seed: 2, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    await engine.keyValue.commit([{ type: "put", key: "key", value: Buffer.from("1"), ttlMs: 500 }]);
    await engine.close();
    const fault = simulation.disk.failOperation(1, "io", "from-then-on", { kinds: ["sync"] });
    await assert.rejects(opened(simulation), { name: "TenonError", code: "unavailable" });
    fault.cancel();
    await simulation.world.timers.sleep(10_000);
    const again = await opened(simulation);
    assert.deepEqual(await again.keyValue.get(["key"]), [undefined]);
    await again.close();
  });
});

test("very many keys may expire in the same second", async () => {
  const simulation = simulatedWorld({ seed: 3, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation, { segmentBytes: 64 * 1024 * 1024 });
    const long = "k".repeat(4_000);
    const now = simulation.world.clock.now();
    for (let n = 0; n < 5_000; n += 500) {
      const changes = Array.from({ length: 500 }, (_, index) => {
        const ttlMs = now + 60_000 - simulation.world.clock.now();
        return { type: "put", key: `${long}${n + index}`, value: Buffer.from("1"), ttlMs } as const;
      });
      await engine.keyValue.commit(changes);
    }
    const events: WatchEvent[] = [];
    const watching = (async () => {
      for await (const event of engine.keyValue.watch("", { signal: engine.ended })) events.push(event);
    })().catch(() => undefined);
    await simulation.world.timers.sleep(65_000);
    assert.deepEqual(await engine.keyValue.scan(""), []);
    assert.equal(events.filter((event) => event.type === "delete").length, 5_000);
    await engine.close();
    await watching;
  });
});

test("large values are read from where they lie now, after overwriting, sealing and reopening", async () => {
  const simulation = simulatedWorld({ seed: 4, eventsMax });
  await simulation.run(async () => {
    let engine = await opened(simulation);
    const expected = new Map<string, Buffer>();
    for (let n = 0; n < 40; n++) {
      const key = `key ${n % 7}`;
      const value = Buffer.alloc([0, 1, 64, 65, 1_024, 1_025, 3_500][(n * 5) % 7]!, `value ${n} `);
      await engine.keyValue.commit([{ type: "put", key, value }]);
      expected.set(key, value);
      if (n % 9 === 8) await engine.cleaner.clean();
      if (n % 13 === 12) engine = await reopened(simulation);
      const found = await engine.keyValue.scan("key");
      assert.deepEqual(
        found.map((entry) => [entry.key, Buffer.from(entry.value)]),
        [...expected].sort(([a], [b]) => (a < b ? -1 : 1)),
      );
    }
    assert.ok((await segments(simulation))[0]! > "0000000000000001.journal", `${directory} was never cleaned`);
    await engine.close();
  });
});
