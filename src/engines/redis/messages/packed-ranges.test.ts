import assert from "node:assert/strict";
import { test } from "node:test";
import { rangesOf } from "../../lanes/ranges.ts";
import { packRanges } from "./packed-ranges.ts";

test("ranges are packed as distances from the first", () => {
  const packed = packRanges(rangesOf([2 ** 40 + 9, 2 ** 40, 2 ** 40 + 1]));
  const words = Array.from({ length: packed.length / 4 }, (_, index) => packed.readUInt32LE(4 * index));
  assert.deepEqual(words, [0, 2, 9, 1]);
});
