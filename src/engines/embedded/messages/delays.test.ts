import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Delay, Delays } from "./delays.ts";

const delay = fc.record(
  {
    dueAt: fc.integer({ min: 0, max: 50 }),
    position: fc.integer({ min: 0, max: 2 ** 50 }),
    queue: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    bytes: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  },
  { noNullPrototype: true },
);

function byInstant(a: Delay, b: Delay): number {
  return a.dueAt - b.dueAt || a.position - b.position;
}

test("delays leave by instant, then by position, whatever the order they came in", () => {
  fc.assert(
    fc.property(fc.uniqueArray(delay, { maxLength: 500, selector: (d) => d.position }), fc.boolean(), (all, atOnce) => {
      const delays = new Delays();
      if (atOnce) delays.replace(all);
      else for (const one of all) delays.add(one);
      const taken: Delay[] = [];
      for (let next = delays.take(Infinity); next !== undefined; next = delays.take(Infinity)) taken.push(next);
      assert.deepEqual(taken, [...all].sort(byInstant));
      assert.equal(delays.size, 0);
    }),
    { numRuns: 200 },
  );
});

test("nothing leaves before its instant", () => {
  const delays = new Delays();
  delays.add({ dueAt: 10, position: 1, queue: 0, bytes: 0 });
  assert.equal(delays.take(9), undefined);
  assert.equal(delays.nextDueAt, 10);
  assert.equal(delays.take(10)?.position, 1);
});
