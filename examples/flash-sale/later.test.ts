import assert from "node:assert/strict";
import { test } from "node:test";
import { memory } from "tenon/embedded";
import { simulatedWorld } from "tenon/simulation";
import { Later } from "./later.ts";

test("what is due later is delayed by the engine, and where it delays nothing by whoever handles it", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax: 10_000 });
  const { world } = simulation;
  await simulation.run(async () => {
    await using engine = await memory({ world });
    assert.deepEqual(new Later({ messages: engine.messages, world }).at(5), { dueAt: 5 });

    const capabilities = { ...engine.messages.capabilities, delay: false };
    const messages = new Proxy(engine.messages, {
      get: (target, name) => (name === "capabilities" ? capabilities : Reflect.get(target, name)),
    });
    const later = new Later({ messages, world });
    const options = later.after(2_000);
    assert.ok("headers" in options);
    const { headers } = options;
    const { signal } = new AbortController();
    const from = world.clock.now();
    await later.wait({ headers, signal });
    assert.ok(world.clock.now() - from >= 2_000);
    const then = world.clock.now();
    await later.wait({ headers, signal });
    await later.wait({ headers: {}, signal });
    assert.equal(world.clock.now(), then);
  });
});
