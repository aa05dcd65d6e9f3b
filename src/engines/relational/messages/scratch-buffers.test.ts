import assert from "node:assert/strict";
import { test } from "node:test";
import { ScratchBuffers } from "./scratch-buffers.ts";

test("room is used again once it was given back, and not before", () => {
  const buffers = new ScratchBuffers();
  const [one, other] = [buffers.take(10).fill(1), buffers.take(20).fill(2)];
  assert.deepEqual([one.length, other.length], [10, 20]);
  assert.ok(one.every((byte) => byte === 1) && one.buffer !== other.buffer);
  buffers.giveBack(one);
  const again = buffers.take(65_536);
  assert.equal(again.buffer, one.buffer);
  assert.notEqual(buffers.take(1).buffer, one.buffer);
});

test("what is larger than most is not kept", () => {
  const buffers = new ScratchBuffers();
  const large = buffers.take(100_000);
  assert.equal(large.length, 100_000);
  buffers.giveBack(large);
  assert.notEqual(buffers.take(10).buffer, large.buffer);
});
