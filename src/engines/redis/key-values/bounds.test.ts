import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { nameBytes } from "../../shared/key-values/names.ts";
import { boundsOf } from "./bounds.ts";

test("the bounds hold exactly the keys that start with the prefix and are greater than `after`", () => {
  const within = ([from, to]: readonly [Buffer, Buffer], name: Buffer): boolean => {
    const above = String(from) === "-" || Buffer.compare(name, from.subarray(1)) >= (from[0] === 0x5b ? 0 : 1);
    return above && (String(to) === "+" || Buffer.compare(name, to.subarray(1)) < 0);
  };
  const near = fc.string({ unit: fc.constantFrom("a", "b", "\ud83e", "🧀", "\uffff"), maxLength: 4 });
  fc.assert(
    fc.property(near, near, fc.option(near, { nil: undefined }), (key, prefix, after) => {
      const expected = key.startsWith(prefix) && (after === undefined || key > after);
      assert.equal(within(boundsOf(prefix, after), nameBytes(key)), expected);
    }),
    { numRuns: 2_000 },
  );
});
