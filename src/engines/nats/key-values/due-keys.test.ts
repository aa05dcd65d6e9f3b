import assert from "node:assert/strict";
import { test } from "node:test";
import { DueKeys } from "./due-keys.ts";

test("keys come out when they are due, not before, and once", () => {
  const keys = new DueKeys(100);
  keys.add("a", 1, 1_000);
  keys.add("b", 2, 1_100);
  keys.add("c", 3, 5_000);
  assert.ok(keys.nextAt! > 1_100 && keys.nextAt! <= 1_250);
  assert.deepEqual(keys.take(1_000), []);
  assert.deepEqual(keys.take(2_000), [
    ["a", 1],
    ["b", 2],
  ]);
  assert.deepEqual(keys.take(2_000), []);
  assert.equal(keys.take(6_000).length, 1);
  assert.equal(keys.nextAt, undefined);
});

test("of a key that comes again for the same time the last message counts", () => {
  const keys = new DueKeys(100);
  keys.add("a", 1, 1_000);
  keys.add("a", 4, 1_000);
  assert.deepEqual(keys.take(2_000), [["a", 4]]);
});

test("what is too much, or never due, is left to whoever looks through all keys", () => {
  const keys = new DueKeys(2);
  for (const [index, key] of ["a", "b", "c"].entries()) keys.add(key, index, 1_000);
  keys.add("d", 9, Number.POSITIVE_INFINITY);
  assert.equal(keys.take(2_000).length, 2);
  keys.add("c", 3, 1_000);
  assert.equal(keys.take(2_000).length, 1);
});
