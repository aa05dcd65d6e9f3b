import assert from "node:assert/strict";
import { test } from "node:test";
import { simulatedWorld } from "../../../simulation/index.ts";
import { opened } from "../fixtures.test.ts";
import { Expiry } from "./expiry.ts";

const put = (key: string, ttlMs: number) => ({ type: "put", key, value: Buffer.from("v"), ttlMs }) as const;

test("a key that is renewed all the time is looked at once per time to live", async () => {
  const simulation = simulatedWorld({ seed: 3 });
  await simulation.run(async () => {
    const { world } = simulation;
    const ends = new Map<string, number>();
    let looked = 0;
    const expiry = new Expiry(world, (keys) => {
      for (const key of keys) {
        looked += 1;
        if (ends.get(key)! <= world.clock.now()) ends.delete(key);
        else expiry.add(key, ends.get(key)!);
      }
    });
    expiry.start();
    for (let i = 0; i < 1_000; i++) {
      const expiresAt = world.clock.now() + 30_000;
      expiry.add("lease", expiresAt, ends.get("lease"));
      ends.set("lease", expiresAt);
      await world.timers.sleep(1_000);
    }
    assert.ok(looked >= 30 && looked <= 40, `${looked} times`);
    await world.timers.sleep(40_000);
    assert.equal(ends.size, 0);
    assert.ok(looked <= 42, `${looked} times`);
    expiry.close();
  });
});

test("a key ends when its last put says, whether that is sooner, later or never", async () => {
  const simulation = simulatedWorld({ seed: 5 });
  await simulation.run(async () => {
    const { timers } = simulation.world;
    const engine = await opened(simulation);
    const { keyValue } = engine;
    const heard: string[] = [];
    const watching = (async () => {
      for await (const event of keyValue.watch("", { signal: engine.ended })) {
        if (event.type === "delete") heard.push(event.key);
      }
    })();
    for (const key of ["sooner", "later", "never", "again"]) await keyValue.commit([put(key, 20_000)]);
    await keyValue.commit([put("sooner", 5_000), put("later", 40_000)]);
    await keyValue.commit([{ type: "put", key: "never", value: Buffer.from("v") }]);
    await keyValue.commit([{ type: "delete", key: "again" }]);
    await keyValue.commit([put("again", 60_000)]);
    const keys = async () => (await keyValue.scan("")).map(({ key }) => key);
    await timers.sleep(8_000);
    assert.deepEqual(heard.splice(0), ["again", "sooner"]);
    assert.deepEqual(await keys(), ["again", "later", "never"]);
    await timers.sleep(20_000);
    assert.deepEqual(await keys(), ["again", "later", "never"]);
    await timers.sleep(15_000);
    assert.deepEqual(heard.splice(0), ["later"]);
    await timers.sleep(20_000);
    assert.deepEqual(heard.splice(0), ["again"]);
    assert.deepEqual(await keys(), ["never"]);
    await engine.close();
    await watching;
  });
});

test("keys that end at the same instant are looked at some at a time, each once", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  await simulation.run(async () => {
    const { world } = simulation;
    const looked = new Set<string>();
    const expiry = new Expiry(world, (keys) => {
      assert.ok(keys.length <= 10_000, `${keys.length} at once`);
      for (const key of keys) {
        assert.ok(!looked.has(key), "it was looked at before");
        looked.add(key);
      }
    });
    expiry.start();
    const expiresAt = world.clock.now() + 1_000;
    for (let index = 0; index < 35_000; index++) expiry.add(`key ${index}`, expiresAt + (index % 2) * 1_000);
    await world.timers.sleep(4_000);
    assert.equal(looked.size, 35_000);
    expiry.close();
  });
});
