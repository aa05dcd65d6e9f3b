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

const grant = { topic: "topic", group: "group", groupNumber: 1, partition: 0, fence: 1 };

function hostOf(windowMax: number) {
  return {
    world: systemWorld(),
    capabilities: {} as MessageCapabilities,
    server: "a test",
    windowMax,
    checkSession: () => undefined,
    release: async () => undefined,
    superseded: () => undefined,
  };
}

test("what stands before a message that cannot be read is handed out", async () => {
  const owner = new LaneOwner(grant, laneOf(new DamagedRun()), hostOf(100));
  const messages = await owner.fetch(10);
  assert.deepEqual(
    messages.map(({ position }) => position),
    [0n],
  );
  for (let again = 0; again < 2; again++) await assert.rejects(owner.fetch(10), /damaged/);
});

test("an empty place before a message that cannot be read is settled", async () => {
  class EmptyAndDamaged extends DamagedRun {
    override read(): Stored {
      const message = super.read();
      return message.position === 0n ? (undefined as unknown as Stored) : message;
    }
  }
  const settled = Promise.withResolvers<readonly number[]>();
  const lane = laneOf(new EmptyAndDamaged());
  const commit: OpenedLane["commit"] = async (change) => {
    settled.resolve(Array.from(change.settled.from));
    return 1;
  };
  const owner = new LaneOwner(grant, { ...lane, commit }, hostOf(100));
  await assert.rejects(owner.fetch(10), /damaged/);
  assert.deepEqual(await settled.promise, [0]);
});

test("a fetch that waits at the end of a partition does not ask the store again because something was settled", async () => {
  const run = new DamagedRun();
  run.position = 2;
  let fetches = 0;
  const lane = laneOf(run);
  const counted: OpenedLane = {
    ...lane,
    fetch: (request) => {
      fetches += 1;
      return lane.fetch(request);
    },
    commit: async () => 3,
  };
  const owner = new LaneOwner(grant, counted, hostOf(100));
  const [last] = await owner.fetch(10);
  const waits = new AbortController();
  const waiting = owner.fetch(10, { signal: waits.signal });
  await owner.commit({ settled: [last!.position] });
  // Whoever was woken has asked by then.
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(owner.low, 3);
  assert.equal(fetches, 2);
  waits.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});
