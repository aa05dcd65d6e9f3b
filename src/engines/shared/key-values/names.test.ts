import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { keyOf, nameBytes, nameOf } from "./names.ts";

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  // Where the order of UTF-8 differs from that of code units, and where the decoder changes its way.
  fc.string({ unit: fc.constantFrom("a", "\u0000", "ä", "\ud7ff", "\ue000", "～", "\uffff", "🧀", "𐀀", "\u{10ffff}") }),
);

test("the order of names' bytes is the order of the keys' code units", () => {
  fc.assert(
    fc.property(anyText, anyText, (a, b) => {
      assert.equal(Math.sign(Buffer.compare(nameBytes(a), nameBytes(b))), a < b ? -1 : a > b ? 1 : 0);
    }),
  );
});

test("a key comes back from its name, whichever way the name is given", () => {
  fc.assert(
    fc.property(anyText, (key) => {
      const name = nameOf(key);
      assert.deepEqual(Buffer.from(name as string), nameBytes(key));
      assert.equal(keyOf(nameBytes(key)), key);
    }),
  );
});
