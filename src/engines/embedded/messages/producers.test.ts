import assert from "node:assert/strict";
import { test } from "node:test";
import { Producers } from "./producers.ts";

const mark = (sequence: number, epoch = 0) => ({ id: "producer", epoch, sequence });

function stored(batches: readonly (readonly [sequence: number, count: number])[], epoch = 0): Producers {
  const producers = new Producers();
  for (const [sequence, count] of batches) {
    producers.add(mark(sequence, epoch), 0, 0, { sequence, count, first: 100 + sequence, offsets: undefined }, 0);
  }
  return producers;
}

test("the next sequence is new, a stored one is answered with its positions", () => {
  const producers = stored([
    [0, 3],
    [3, 2],
  ]);
  assert.equal(producers.check(mark(5), 0, 0, 4), undefined);
  assert.equal(producers.check(mark(0), 0, 0, 3)?.first, 100);
  assert.equal(producers.check(mark(3), 0, 0, 2)?.first, 103);
});

test("a gap is refused, and so is a stored sequence in another batch", () => {
  const producers = stored([
    [0, 3],
    [3, 2],
  ]);
  for (const [sequence, count] of [
    [6, 1],
    [3, 1],
    [1, 2],
    [0, 5],
  ] as const) {
    assert.throws(() => producers.check(mark(sequence), 0, 0, count), { code: "conflict", outcome: "not-applied" });
  }
});

test("a batch older than the five remembered ones is refused, never stored again", () => {
  const producers = stored(Array.from({ length: 7 }, (_, n) => [n * 2, 2] as const));
  assert.throws(() => producers.check(mark(0), 0, 0, 2), { code: "conflict" });
  assert.equal(producers.check(mark(4), 0, 0, 2)?.first, 104);
});

test("a newer epoch starts at zero and fences the older one", () => {
  const producers = stored([[0, 3]], 5);
  assert.throws(() => producers.check(mark(3, 4), 0, 0, 1), { code: "lost" });
  assert.throws(() => producers.check(mark(3, 6), 0, 0, 1), { code: "conflict" });
  assert.equal(producers.check(mark(0, 6), 0, 0, 1), undefined);
  producers.add(mark(0, 6), 0, 0, { sequence: 0, count: 1, first: 900, offsets: undefined }, 0);
  assert.equal(producers.check(mark(0, 6), 0, 0, 1)?.first, 900);
  assert.throws(() => producers.check(mark(0, 5), 0, 0, 3), { code: "lost" });
});

test("queues have sequences of their own, topics have producers of their own", () => {
  const producers = stored([[0, 3]]);
  assert.throws(() => producers.check(mark(3), 0, 1, 1), { code: "conflict" });
  assert.equal(producers.check(mark(0), 0, 1, 1), undefined);
  assert.equal(producers.check(mark(0), 1, 0, 3), undefined);
});
