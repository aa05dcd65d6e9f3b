import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { murmur2, murmur2OfBytes, partitionOf } from "./key-hash.ts";

test("the hash of known keys is what Kafka's own tests expect", () => {
  const expected: [string, number][] = [
    ["21", -973932308],
    ["foobar", -790332482],
    ["a-little-bit-long-string", -985981536],
    ["a-little-bit-longer-string", -1486304829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
    ["abc", 479470107],
  ];
  for (const [key, hash] of expected) assert.equal(murmur2(key), hash, key);
});

test("the fast way over characters answers what the way over bytes does, for every key", () => {
  const keys = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.string({ unit: "grapheme-ascii", maxLength: 40 }),
  );
  fc.assert(fc.property(keys, (key) => murmur2(key) === murmur2OfBytes(new TextEncoder().encode(key))));
  for (const key of ["", "é", "abcé", "abcdé", "a\u0100", "\u0100bcd", "日本語", "😀"]) {
    assert.equal(murmur2(key), murmur2OfBytes(new TextEncoder().encode(key)), JSON.stringify(key));
  }
});

test("every partition of a key is in range, and keys spread over all of them", () => {
  const counts = new Array(8).fill(0);
  for (let index = 0; index < 8_000; index += 1) {
    const partition = partitionOf(`order-${index}`, 8);
    assert.ok(partition >= 0 && partition < 8);
    counts[partition] += 1;
  }
  for (const count of counts) assert.ok(count > 800 && count < 1_200, String(counts));
});
