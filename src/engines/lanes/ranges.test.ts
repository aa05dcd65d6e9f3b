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
