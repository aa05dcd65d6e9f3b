import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RecordReader } from "./record-reader.ts";

/** As Kafka's protocol describes it: the sign in the lowest bit, seven bits to a byte, the lowest first. The client writes numbers beyond 32 bits wrongly. */
function written(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value < 0 ? -2n * BigInt(value) - 1n : 2n * BigInt(value);
  for (; rest >= 128n; rest /= 128n) bytes.push(Number(rest % 128n) + 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

function readerOf(records: Buffer, position: number): RecordReader {
  return new RecordReader({ records, place: { topic: "orders", partition: 3 } }, 0, position);
}

test("whole numbers of any size are read as they were written, one after the other", () => {
  const sizes = [63, 64, 8_191, 8_192, 2 ** 31, 2 ** 32, 2 ** 52];
  const value = fc.oneof(...sizes.map((size) => fc.integer({ min: -size, max: size - 1 })));
  fc.assert(
    fc.property(fc.array(value), (values) => {
      const bytes = Buffer.concat(values.map(written));
      const reader = readerOf(bytes, 0);
      assert.deepEqual(
        values.map(() => reader.whole()),
        values,
      );
      assert.equal(reader.at, bytes.length);
    }),
  );
});

test("a number that does not end is corrupt, as is a length that leads out of its record", () => {
  const corrupt = { code: "corrupt", message: /position 7 of orders\/3/ };
  for (const bytes of [[], [0x80], [0x80, 0x80], new Array<number>(20).fill(0xff)]) {
    assert.throws(() => readerOf(Buffer.from(bytes), 7).whole(), corrupt);
  }
  const lengthOf = (value: number) => readerOf(written(value), 7).length(10);
  assert.deepEqual([lengthOf(-1), lengthOf(9)], [-1, 9]);
  assert.throws(() => lengthOf(10), corrupt);
  assert.throws(() => lengthOf(-2), corrupt);
  assert.throws(() => readerOf(written(5), 7).endOfRecord(), corrupt);
  assert.throws(() => readerOf(written(-1), 7).endOfRecord(), corrupt);
});
