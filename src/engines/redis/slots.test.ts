import assert from "node:assert/strict";
import { test } from "node:test";
import { slotOf } from "./slots.ts";

// What a server answers to CLUSTER KEYSLOT.
test("a key's slot is that of the cluster", () => {
  const slotsOfServer = {
    "123456789": 12_739,
    foo: 12_182,
    "{foo}bar": 12_182,
    "a{foo}{bar}": 12_182,
    "{}foo": 9_500,
    "a{{foo}}": 13_308,
    "": 0,
    "ключ-票": 2_181,
  };
  for (const [key, slot] of Object.entries(slotsOfServer)) assert.equal(slotOf(key), slot, key);
});
