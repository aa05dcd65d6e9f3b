import assert from "node:assert/strict";
import { test } from "node:test";
import { simulatedWorld } from "tenon/simulation";
import { WaitingRoom } from "./waiting-room.ts";

test("everybody who waits for a request gets its answer, and nobody is left waiting", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const room = new WaitingRoom(simulation.world, 1_000);
  const answers = await simulation.run(() => {
    const waits = [room.wait("r1"), room.wait("r2"), room.wait("r1")];
    room.answer("r1", "accepted");
    room.answer("r2", "sold-out");
    return Promise.all(waits);
  });
  assert.deepEqual(answers, ["accepted", "sold-out", "accepted"]);
  assert.equal(room.size, 0);
});

test("a wait ends by its timeout, not before it and not long after it, and its late answer is dropped", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const { timers } = simulation.world;
  const room = new WaitingRoom(simulation.world, 1_000);
  const endedAt = new Map<string, number>();
  await simulation.run(async () => {
    const wait = (id: string) => room.wait(id).then((answer) => endedAt.set(`${id} ${answer}`, simulation.nowMs));
    const first = wait("r1");
    await timers.sleep(500);
    await Promise.all([first, wait("r2")]);
  });
  const [first, second] = [endedAt.get("r1 timed-out")!, endedAt.get("r2 timed-out")!];
  assert.ok(first >= 1_000 && first <= 1_110, `the first ended at ${first}`);
  assert.ok(second >= 1_500 && second <= 1_610, `the second ended at ${second}`);
  assert.equal(room.size, 0);
  room.answer("r1", "accepted");
  assert.equal(room.size, 0);
});

test("closing ends every wait without a verdict", async () => {
  const simulation = simulatedWorld({ seed: 1 });
  const room = new WaitingRoom(simulation.world, 1_000);
  const answer = await simulation.run(() => {
    const wait = room.wait("r1");
    room.close();
    return wait;
  });
  assert.equal(answer, "unavailable");
});
