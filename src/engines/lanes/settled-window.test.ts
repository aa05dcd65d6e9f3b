import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SettledWindow } from "./settled-window.ts";

test("a window answers as a plain set does, in whatever order offsets are settled", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 40 }),
      fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 400 }),
      (start, steps) => {
        const window = new SettledWindow(start);
        const model = new Set<number>();
        for (const step of steps) {
          const offset = start + step;
          assert.equal(window.add(offset), !model.has(offset));
          model.add(offset);
        }
        let low = start;
        while (model.has(low)) low += 1;
        assert.equal(window.low, low);
        const above = [...model].filter((offset) => offset >= low).sort((a, b) => a - b);
        assert.deepEqual([...window.above()], above);
        assert.equal(window.aboveCount, above.length);
        for (let offset = start; offset < start + 3_100; offset += 7) {
          assert.equal(window.has(offset), model.has(offset));
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("a whole window settled backwards closes and gives its memory back", () => {
  const window = new SettledWindow(5);
  for (let offset = 10_004; offset >= 5; offset--) window.add(offset);
  assert.equal(window.low, 10_005);
  assert.equal(window.aboveCount, 0);
  assert.equal(window.has(10_005), false);
});
