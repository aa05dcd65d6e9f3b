import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PositionList } from "./position-list.ts";

const position = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

test("a list holds the positions in the order in which they came, one by one or many at once", () => {
  const steps = fc.array(fc.oneof(position, fc.array(position, { maxLength: 40 })));
  fc.assert(
    fc.property(fc.nat(20), steps, (capacity, added) => {
      const list = new PositionList(capacity);
      for (const step of added) {
        if (typeof step === "bigint") list.add({ position: step });
        else list.addAll(BigUint64Array.from(step));
      }
      assert.deepEqual([...list.positions], added.flat());
      assert.equal(list.length, added.flat().length);
    }),
  );
});

test("what is added later does not change what was taken from a list", () => {
  const list = new PositionList();
  list.add({ position: 1n });
  const taken = list.positions;
  for (let added = 2n; added < 40n; added++) list.add({ position: added });
  assert.deepEqual([...taken], [1n]);
});
