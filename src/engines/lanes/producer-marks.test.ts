import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Positions, ProducerMarks } from "./producer-marks.ts";

const mark = (sequence: number, epoch = 1) => ({ id: "p", epoch, sequence });

function through(marks: ProducerMarks): ProducerMarks {
  return ProducerMarks.decode(marks.encode());
}

test("the last five batches are answered with the positions that they got, older ones and parts are refused", () => {
  let marks = new ProducerMarks(1);
  for (let sequence = 0; sequence < 14; sequence += 2) {
    marks.add(mark(sequence), 2, 100 + sequence);
    marks = through(marks);
  }
  assert.deepEqual(ProducerMarks.check(marks, 1, mark(4), 2), { known: 104 });
  assert.deepEqual(ProducerMarks.check(marks, 1, mark(12), 2), { known: 112 });
  assert.deepEqual(ProducerMarks.check(marks, 1, mark(12), 1), { refused: "repeated" });
  assert.deepEqual(ProducerMarks.check(marks, 1, mark(2), 2), { refused: "repeated" });
  assert.equal(ProducerMarks.check(marks, 1, mark(14), 2), undefined);
  assert.deepEqual(ProducerMarks.check(marks, 1, mark(15), 2), { refused: "gap", expected: 14 });
});

test("an older epoch is fenced, also by what another partition has seen; a higher one begins at 0", () => {
  const marks = new ProducerMarks(3);
  marks.add(mark(0, 3), 5, 0);
  assert.deepEqual(ProducerMarks.check(marks, 3, mark(5, 2), 1), { refused: "fenced", epoch: 3 });
  assert.deepEqual(ProducerMarks.check(undefined, 4, mark(0, 3), 1), { refused: "fenced", epoch: 4 });
  assert.deepEqual(ProducerMarks.check(marks, 3, mark(5, 4), 1), { refused: "gap", expected: 0 });
  assert.equal(ProducerMarks.check(marks, 3, mark(0, 4), 1), undefined);
  marks.add(mark(0, 4), 1, 9);
  assert.deepEqual(ProducerMarks.check(through(marks), 4, mark(0, 4), 1), { known: 9 });
});

test("a producer that nobody knows may begin anywhere, for it may have been forgotten", () => {
  assert.equal(ProducerMarks.check(undefined, -1, mark(70), 1), undefined);
  assert.deepEqual(ProducerMarks.check(undefined, 1, mark(70), 1), { refused: "gap", expected: 0 });
});

test("positions come out as they went in, consecutive or not, with none among them", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: -1, max: 2 ** 40 }), fc.integer({ min: -1, max: 40 })), { minLength: 1 }),
      (list) => {
        const marks = new ProducerMarks(0);
        marks.add(mark(0, 0), list.length, list as Positions);
        assert.deepEqual(ProducerMarks.check(through(marks), 0, mark(0, 0), list.length), { known: list });
      },
    ),
  );
});
