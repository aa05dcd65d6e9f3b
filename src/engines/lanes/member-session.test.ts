import assert from "node:assert/strict";
import { test } from "node:test";
import type { World } from "../../world/world.ts";
import { MemberSession } from "./member-session.ts";

/** Clocks and one timer, moved by hand. */
function handmade() {
  const state = { monotonic: 1_000, wall: 50_000 };
  let timer: { at: number; fn: () => void } | undefined;
  const world = {
    clock: { monotonic: () => state.monotonic, now: () => state.wall },
    timers: {
      schedule(ms: number, fn: () => void) {
        const own = { at: state.monotonic + ms, fn };
        timer = own;
        return () => {
          if (timer === own) timer = undefined;
        };
      },
    },
  } as unknown as World;
  const pass = (ms: number, wallMs = ms) => {
    state.monotonic += ms;
    state.wall += wallMs;
    while (timer !== undefined && timer.at <= state.monotonic) {
      const { fn } = timer;
      timer = undefined;
      fn();
    }
  };
  return { world, pass };
}

test("a session is over when so long has passed since the last renewal that was answered was sent", () => {
  const { world, pass } = handmade();
  let over = 0;
  const session = new MemberSession(world, 300, () => over++);
  session.renewal()();
  pass(200);
  const answered = session.renewal();
  pass(90);
  answered();
  assert.equal(session.leftMs, 210);
  pass(209);
  assert.equal(over, 0);
  session.renewal();
  pass(1);
  assert.equal(over, 1, "a renewal without an answer counts for nothing");
});

test("time that passed while the machine slept counts", () => {
  const { world, pass } = handmade();
  const session = new MemberSession(world, 300, () => undefined);
  session.renewal()();
  pass(1, 400);
  assert.ok(session.leftMs <= 0);
});

test("a session that was stopped does not end", () => {
  const { world, pass } = handmade();
  let over = 0;
  const session = new MemberSession(world, 300, () => over++);
  session.renewal()();
  session.stop();
  pass(1_000);
  assert.equal(over, 0);
});
