import assert from "node:assert/strict";
import { test } from "node:test";
import type { World } from "../../world/world.ts";
import { ServerClock } from "./server-clock.ts";

const hour = 3_600_000;

/** A machine whose clock is an hour behind the server's, and a server that answers after 8 ms, with the time in the midst of them. */
function handmade() {
  const state = { monotonic: 1_000, wall: 50_000, readings: 0 };
  const world = { clock: { monotonic: () => state.monotonic, now: () => state.wall } } as unknown as World;
  const pass = (ms: number, wallMs = ms) => {
    state.monotonic += ms;
    state.wall += wallMs;
  };
  const server = () => state.wall + hour;
  const clock = new ServerClock(world, async () => {
    state.readings += 1;
    pass(4);
    const stamp = server();
    pass(4);
    return stamp;
  });
  return { state, clock, pass, server };
}

test("the server's time lies between the earliest and the latest, at once and later", async () => {
  const { clock, pass, server } = handmade();
  await clock.ready();
  for (const ms of [0, 1, 500, 9_000]) {
    pass(ms);
    assert.ok(clock.earliest <= server() && server() <= clock.latest, `${clock.earliest} ${server()} ${clock.latest}`);
    assert.ok(clock.latest - clock.earliest <= 9);
  }
});

test("it is read again after a while, and not before", async () => {
  const { clock, pass, state } = handmade();
  await clock.ready();
  pass(9_000);
  await Promise.all([clock.ready(), clock.ready()]);
  assert.equal(state.readings, 1);
  pass(2_000);
  await Promise.all([clock.ready(), clock.ready()]);
  assert.equal(state.readings, 2);
});

test("it is read again when the machine slept, or its clock was set", async () => {
  const { clock, pass, server, state } = handmade();
  await clock.ready();
  // Monotonic time stands still while a machine sleeps.
  pass(1, 60_000);
  await clock.ready();
  assert.equal(state.readings, 2);
  assert.ok(clock.earliest <= server() && server() <= clock.latest);
});
