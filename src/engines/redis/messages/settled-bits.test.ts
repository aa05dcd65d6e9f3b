import assert from "node:assert/strict";
import { test } from "node:test";
import { SettledBits } from "./settled-bits.ts";

test("bits are counted from the base as Redis numbers them, and nothing outside of them is settled", () => {
  const bits = new SettledBits(100, Buffer.from([0b1100_0001, 0b0000_0010]));
  const settled = Array.from({ length: 40 }, (_, index) => 90 + index).filter((position) => bits.has(position));
  assert.deepEqual(settled, [100, 101, 107, 114]);
});

test("without bits nothing is settled", () => {
  const bits = new SettledBits(-1, Buffer.alloc(0));
  assert.ok(!bits.has(0) && !bits.has(7));
});
