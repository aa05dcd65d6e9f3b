import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes } from "../codec/index.ts";
import { simulatedWorld } from "../simulation/index.ts";
import { Delivery } from "./delivery.ts";
import { HandlerRuns } from "./handler-runs.ts";
import type { LaneWorker } from "./lane-worker.ts";
import type { RunHost } from "./runs.ts";

test("handlers that never end leave nothing behind once they are given up", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const { world } = simulation;
  let freed = 0;
  const host = {
    ...{ world, topic: "orders", group: "billing", handlerTimeoutMs: 100, abandonAfterMs: 50 },
    takeSlot: () => undefined,
    freeSlot: () => {
      freed += 1;
    },
    pump: () => undefined,
  } as unknown as RunHost;
  const lane = { topic: "orders", group: "billing", partition: 0, fence: 1n };
  // Its grant is over: what became of its messages is nobody's any more.
  const owner = { lane, running: 0, takesOutcomes: false, nextDelivery: () => 1, handlerEnded: () => undefined };
  await simulation.run(async () => {
    const runs = new HandlerRuns(host, bytes(), () => new Promise(() => undefined));
    for (let position = 0n; position < 3n; position++) {
      const stored = { position, body: Buffer.from("order"), publishedAt: 0 };
      runs.take(new Delivery(owner as unknown as LaneWorker, stored as never, 0, 0, 0));
    }
    assert.equal(runs.running.size, 3);
    await world.timers.sleep(200);
    assert.equal(freed, 3);
    assert.equal(runs.running.size, 0);
  });
});
