import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Gathered, packRanges, type Ranges } from "./ranges.ts";

function rangesOf(positions: readonly number[]): Ranges {
  const gathered = new Gathered();
  for (const position of positions) gathered.add(position);
  return gathered.ranges();
}

test("positions become ranges that hold them all and nothing else, ascending and apart", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 60 })), fc.integer({ min: 0, max: 2 ** 50 }), (offsets, origin) => {
      const positions = offsets.map((offset) => origin + offset);
      const { from, to } = rangesOf(positions);
      const covered = new Set<number>();
      for (let i = 0; i < from.length; i++) {
        assert.ok(from[i]! < to[i]! && (i === 0 || from[i]! > to[i - 1]!));
        for (let position = from[i]!; position < to[i]!; position++) covered.add(position);
      }
      assert.deepEqual(covered, new Set(positions.sort((a, b) => a - b)));
    }),
  );
});

test("ranges are packed as distances from the first", () => {
  const packed = packRanges(rangesOf([2 ** 40 + 9, 2 ** 40, 2 ** 40 + 1]));
  const words = Array.from({ length: packed.length / 4 }, (_, index) => packed.readUInt32LE(4 * index));
  assert.deepEqual(words, [0, 2, 9, 1]);
});
