import assert from "node:assert/strict";
import { test } from "node:test";
import type { MessageCapabilities, Stored } from "../../contracts/messages.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import { LaneOwner } from "./lane-owner.ts";
import type { FetchedRun, OpenedLane } from "./lane-store.ts";

/** Three messages, of which the second cannot be read. */
class DamagedRun implements FetchedRun {
  position = 0;
  readonly end = 3;
  readonly sizeBytes = 3;

  read(): Stored {
    if (this.position === 1) throw new Error("damaged");
    const position = BigInt(this.position++);
    return { position, key: undefined, headers: undefined, id: undefined, body: new Uint8Array(), publishedAt: 0 };
  }

  skip(): void {
    this.position += 1;
  }
}

function laneOf(run: FetchedRun): OpenedLane {
  const runs = [run];
  return {
    low: 0,
    suspectBelow: 0,
    held: [],
    settledEnd: 0,
    wasSettled: () => false,
    fetch: async () => ({ low: 0, next: run.end, dueMs: -1, runs: runs.splice(0) }),
    commit: async () => 0,
  };
}

test("what stands before a message that cannot be read is handed out", async () => {
  const grant = { topic: "topic", group: "group", groupNumber: 1, partition: 0, fence: 1 };
  const host = {
    world: systemWorld(),
    capabilities: {} as MessageCapabilities,
    server: "a test",
    windowMax: 100,
    checkSession: () => undefined,
    release: async () => undefined,
    superseded: () => undefined,
  };
  const owner = new LaneOwner(grant, laneOf(new DamagedRun()), host);
  const messages = await owner.fetch(10);
  assert.deepEqual(
    messages.map(({ position }) => position),
    [0n],
  );
  for (let again = 0; again < 2; again++) await assert.rejects(owner.fetch(10), /damaged/);
});
