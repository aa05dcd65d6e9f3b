import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readKey } from "./keys-seen.ts";

/** Keys that are hard to tell apart, so that they meet in the same places and differ in single bytes, in their lengths, or in what stands around them. */
const key = fc.oneof(
  fc.string({ unit: fc.constantFrom("a", "b", "\0"), maxLength: 40 }),
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.nat(100_000).map((number) => `order-${number}`),
);

function read(bytes: Buffer, from: number, to: number): string {
  return readKey(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), from, to);
}

test("a key is read as it was written, whichever were read before it and whatever stands around it", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.uint8Array({ minLength: 4, maxLength: 8 })), { minLength: 1 }), (written) => {
      for (const [text, around] of written) {
        const bytes = Buffer.concat([around, Buffer.from(text), around]);
        assert.equal(read(bytes, around.length, bytes.length - around.length), Buffer.from(text).toString());
      }
    }),
    { numRuns: 500 },
  );
});

test("ten thousand keys in turn, more than are remembered, are told apart", () => {
  const keys = Array.from({ length: 10_000 }, (_, index) => `customer/${index}`);
  for (let round = 0; round < 2; round++) {
    for (const text of keys) assert.equal(read(Buffer.from(`1234${text}`), 4, 4 + text.length), text);
  }
});
