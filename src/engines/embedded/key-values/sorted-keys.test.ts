import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SortedKeys } from "./sorted-keys.ts";

test("sorted keys answer as a sorted plain set does", () => {
  const key = fc.string({ maxLength: 3 });
  fc.assert(
    fc.property(fc.array(fc.record({ key, add: fc.boolean() }), { maxLength: 2_000 }), key, (steps, from) => {
      const keys = new SortedKeys();
      const model = new Set<string>();
      for (const step of steps) {
        keys[step.add ? "add" : "delete"](step.key);
        model[step.add ? "add" : "delete"](step.key);
      }
      const expected = [...model].filter((other) => other >= from).sort((a, b) => (a < b ? -1 : 1));
      assert.deepEqual([...keys.from(from)], expected);
    }),
    { numRuns: 100 },
  );
});

test("blocks split and vanish without losing a key", () => {
  const keys = new SortedKeys();
  for (let i = 0; i < 5_000; i++) keys.add(String((i * 7_919) % 5_000).padStart(5, "0"));
  assert.equal([...keys.from("")].length, 5_000);
  for (let i = 0; i < 5_000; i++) if (i % 100 !== 0) keys.delete(String(i).padStart(5, "0"));
  assert.deepEqual([...keys.from("02500")][0], "02500");
  assert.equal([...keys.from("")].length, 50);
});
