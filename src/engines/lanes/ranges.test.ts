import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { rangesOf } from "./ranges.ts";

/** Near enough to each other to be sorted by bits, across several words, or too far apart for that. */
const offset = fc.oneof(
  fc.integer({ min: 0, max: 60 }),
  fc.integer({ min: 0, max: 300 }),
  fc.integer({ min: 0, max: 2 ** 32 }),
);

test("positions become ranges that hold them all and nothing else, ascending and apart", () => {
  fc.assert(
    fc.property(fc.array(offset), fc.integer({ min: 0, max: 2 ** 50 }), (offsets, origin) => {
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

test("positions that follow one another are one range in whatever order they come, however many they are and wherever they begin", () => {
  for (const origin of [0, 31, 2 ** 32 - 40, 2 ** 53 - 200]) {
    for (const count of [31, 32, 33, 64, 130]) {
      const backwards = Array.from({ length: count }, (_, index) => origin + count - 1 - index);
      const twice = [...backwards, ...backwards];
      assert.deepEqual(rangesOf(twice), { from: [origin], to: [origin + count] });
    }
  }
});

test("how far positions lie apart does not matter", () => {
  for (const distance of [127, 128, 2 ** 33]) {
    assert.deepEqual(rangesOf([7 + distance, 7]), { from: [7, 7 + distance], to: [8, 8 + distance] });
  }
});
