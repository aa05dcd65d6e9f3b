import assert from "node:assert/strict";
import { test } from "node:test";
import type { Membership, MessageEngine } from "../../../contracts/messages.ts";
import { simulate } from "../../../simulation/index.ts";
import { memory } from "../../embedded/index.ts";
import { remote, serve } from "../index.ts";

const sessionMs = 2_000;

/** A member whose session has ended by its clock joins anew over a slow network, and leaves so many ms later. Answers how many are left. */
async function membersLeft(seed: number, leavesAfterMs: number): Promise<number> {
  let left = -1;
  await simulate({ seed }, async (system) => {
    let served: MessageEngine | undefined;
    let membership: Membership | undefined;
    const engine = system.process("engine", async ({ world }) => {
      const inMemory = await memory({ world });
      await serve(inMemory, { host: "engine", port: 4_000, world });
      await inMemory.messages.declare("notes", { partitions: 1, groups: ["g"] });
      served = inMemory.messages;
    });
    await system.until("it is served", () => served !== undefined);
    const shop = system.process("shop", async ({ world }) => {
      const { messages } = await remote("engine:4000", { world, requestTimeoutMs: 300, heartbeatMs: 2_000 });
      membership = await messages.join("notes", "g", { sessionMs, revokeMs: 1_000, windowMax: 10 });
    });
    await system.until("the shop has joined", () => membership !== undefined);
    // An answer takes longer than anybody waits for it.
    system.network.settings = { ...system.network.settings, latencyMs: { min: 200, max: 200 } };
    shop.clock.step(10 * sessionMs);
    await system.sleep(leavesAfterMs);
    const gone = membership!.leave();
    await system.sleep(5_000);
    system.network.settings = { ...system.network.settings, latencyMs: { min: 1, max: 1 } };
    await gone;
    await system.sleep(10 * sessionMs);
    const { groups } = await engine.run(() => served!.describe("notes"));
    left = groups[0]!.members;
  });
  return left;
}

test("whoever leaves while it joins anew is no member, whenever the answer comes", async () => {
  for (let leavesAfterMs = 0; leavesAfterMs <= 3_000; leavesAfterMs += 50) {
    assert.equal(await membersLeft(1 + leavesAfterMs, leavesAfterMs), 0, `it leaves after ${leavesAfterMs} ms`);
  }
});
