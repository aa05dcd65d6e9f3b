import assert from "node:assert/strict";
import { test } from "node:test";
import { systemWorld, type World } from "../world/index.ts";
import { uuidv7, uuidv7Time } from "./index.ts";

const now = 0x0123_4567_89ab;

function worldAt(clock: () => number, byte?: number): World {
  const world = systemWorld();
  const bytes = (count: number): Uint8Array =>
    byte === undefined ? world.random.bytes(count) : new Uint8Array(count).fill(byte);
  return { ...world, clock: { now: clock, monotonic: clock }, random: { ...world.random, bytes } };
}

test("a UUID has the version, the variant and the time that RFC 9562 asks for", () => {
  const uuid = uuidv7({ world: worldAt(() => now, 0xff) }).next();
  assert.equal(uuid, "01234567-89ab-77ff-bfff-ffffffffffff");
  assert.equal(uuidv7Time(uuid), now);
});

test("UUIDs sort in the order in which they were made while the clock stands still, goes on and goes back", () => {
  let clock = now;
  const uuids = uuidv7({ world: worldAt(() => clock) });
  let last = "";
  for (const stepMs of [0, 0, 1, -5, 2, 100_000, -99_999, 0.25]) {
    clock += stepMs;
    for (let made = 0; made < 5_000; made++) {
      const uuid = uuids.next();
      assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      assert.ok(uuid > last);
      last = uuid;
    }
  }
});

test("two generators of the same millisecond make different UUIDs", () => {
  const made = new Set<string>();
  for (let generator = 0; generator < 100; generator++) {
    const uuids = uuidv7({ world: worldAt(() => now) });
    for (let index = 0; index < 100; index++) made.add(uuids.next().slice(0, 36));
  }
  assert.equal(made.size, 10_000);
});

test("the random tail differs from one UUID to the next", () => {
  const uuids = uuidv7({ world: worldAt(() => now) });
  const tails = new Set(Array.from({ length: 10_000 }, () => uuids.next().slice(25)));
  assert.equal(tails.size, 10_000);
});

test("a clock before 1970 is refused, and so is the time of what is not a UUID of version 7", () => {
  assert.throws(() => uuidv7({ world: worldAt(() => -1) }).next(), { code: "unavailable" });
  for (const text of [
    "",
    "01234567-89ab-4000-8000-000000000000",
    "01234567-89ab-7000-0000-000000000000",
    "x1234567-89ab-7000-8000-000000000000",
  ]) {
    assert.throws(() => uuidv7Time(text), { code: "invalid" });
  }
});
