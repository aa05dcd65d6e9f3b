import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Lane, Membership } from "../../../contracts/messages.ts";
import { simulatedWorld } from "../../../simulation/index.ts";
import { opened } from "../fixtures.test.ts";

const eventsMax = 200_000;
const options = { sessionMs: 10_000, revokeMs: 5_000, windowMax: 100 };

/** A member that takes what it gets and gives back at once what is asked back. */
class Follower {
  readonly lanes = new Map<number, Lane>();
  moves = 0;
  readonly #member: Membership;

  constructor(member: Membership) {
    this.#member = member;
    void this.#follow().catch(() => undefined);
  }

  async #follow(): Promise<never> {
    for (;;) {
      const lane = await this.#member.nextLane();
      this.lanes.set(lane.partition, lane);
      this.moves += 1;
      lane.revoked.addEventListener("abort", () => {
        this.lanes.delete(lane.partition);
        void lane.release();
      });
    }
  }

  async leave(): Promise<void> {
    await this.#member.leave();
    this.lanes.clear();
  }
}

test("lanes are spread evenly over members that come and go, each owned once, and no more of them move than must", async () => {
  const scenario = fc.array(fc.oneof(fc.constant("join" as const), fc.nat(5)), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 9 }), scenario, async (partitions, steps) => {
      const simulation = simulatedWorld({ seed: 1, eventsMax });
      await simulation.run(async () => {
        const engine = await opened(simulation);
        await engine.messages.declare("orders", { partitions, groups: ["billing"] });
        const members: Follower[] = [];
        for (const step of steps) {
          const before = new Map(members.map((member) => [member, new Set(member.lanes.keys())]));
          if (step === "join") members.push(new Follower(await engine.messages.join("orders", "billing", options)));
          else if (members.length > 0) {
            const [leaving] = members.splice(step % members.length, 1);
            before.delete(leaving!);
            await leaving!.leave();
          }
          await simulation.world.timers.sleep(1_000);
          assertEven(members, partitions);
          assertFewMoves(members, before);
        }
        await engine.close();
      });
    }),
    { numRuns: 40 },
  );
});

function assertEven(members: readonly Follower[], partitions: number): void {
  if (members.length === 0) return;
  const owned = members.flatMap((member) => [...member.lanes.keys()]);
  assert.deepEqual(
    owned.sort((a, b) => a - b),
    Array.from({ length: partitions }, (_, partition) => partition),
  );
  const counts = members.map((member) => member.lanes.size);
  assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${counts}`);
}

/** Who was there before keeps what it had, up to its even share. */
function assertFewMoves(members: readonly Follower[], before: ReadonlyMap<Follower, ReadonlySet<number>>): void {
  for (const member of members) {
    const had = before.get(member) ?? new Set();
    const kept = [...had].filter((partition) => member.lanes.has(partition)).length;
    assert.equal(kept, Math.min(had.size, member.lanes.size), "a lane moved that could have stayed");
  }
}

test("a lane that is not given back in time is lost to its owner, and the next one has a greater fence", async () => {
  const simulation = simulatedWorld({ seed: 2, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    await engine.messages.declare("orders", { partitions: 2, groups: ["billing"] });
    for (const partition of [0, 1]) {
      await engine.messages.append({ topic: "orders", partition, messages: [{ body: Buffer.from("m") }] });
    }
    const first = await engine.messages.join("orders", "billing", options);
    const lanes = [await first.nextLane(), await first.nextLane()];
    const fetched = await Promise.all(lanes.map((lane) => lane.fetch(1)));
    const second = await engine.messages.join("orders", "billing", options);
    const lane = await second.nextLane();
    const zombie = lanes.findIndex(({ partition }) => partition === lane.partition);
    assert.ok(simulation.nowMs >= options.revokeMs, "it passed on before its owner's time was over");
    assert.ok(lanes[zombie]!.revoked.aborted && lanes[zombie]!.lost.aborted);
    assert.ok(!lanes[1 - zombie]!.revoked.aborted, "the other lane was asked back too");
    assert.ok(lane.fence > lanes[zombie]!.fence);
    const { position } = fetched[zombie]![0]!;
    await assert.rejects(lanes[zombie]!.commit({ settled: [position] }), { code: "lost", outcome: "not-applied" });
    assert.equal((await lane.fetch(1))[0]!.position, position);
    await lanes[1 - zombie]!.commit({ settled: [fetched[1 - zombie]![0]!.position] });
    await engine.close();
  });
});

test("members of an engine that a failing disk has stopped hear that it is closed, whenever they ask", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax });
  await simulation.run(async () => {
    const engine = await opened(simulation);
    await engine.messages.declare("orders", { partitions: 1, groups: ["billing"] });
    const [waiting, asking] = [
      await engine.messages.join("orders", "billing", options),
      await engine.messages.join("orders", "billing", options),
    ];
    const lane = await waiting.nextLane();
    const waited = waiting.nextLane();
    simulation.disk.failOperation(1, "io", "once");
    const body = new Uint8Array(1);
    await assert.rejects(engine.messages.append({ topic: "orders", partition: 0, messages: [{ body }] }));
    await assert.rejects(waited, { code: "closed" });
    await assert.rejects(asking.nextLane(), { code: "closed" });
    assert.ok(lane.lost.aborted);
    await engine.close();
  });
});
