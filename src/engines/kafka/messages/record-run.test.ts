import assert from "node:assert/strict";
import { test } from "node:test";
import * as client from "@platformatic/kafka";
import fc from "fast-check";
import { TenonError } from "../../../contracts/errors.ts";
import type { NewMessage, Stored } from "../../../contracts/messages.ts";
import { batchesBetween } from "../fetching/fetch-answer.ts";
import { sealed, stored } from "../fetching/fixtures.test.ts";
import { RecordBatch } from "../fetching/record-batch.ts";
import { runsOf } from "./fetched-runs.ts";
import { recordOf } from "./records.ts";

const logAppendTime = 8;
const control = 32;
const place = { topic: "orders", partition: 3 };
const decompressedBytesMax = 1024 * 1024;

function runsFrom(bytes: readonly Buffer[], from: number) {
  return runsOf(
    bytes.map((batch) => RecordBatch.open(batch, place, client, decompressedBytesMax)),
    from,
  );
}

function readAll(bytes: readonly Buffer[], from: number): Stored[] {
  const messages: Stored[] = [];
  for (const run of runsFrom(bytes, from).runs) while (run.position < run.end) messages.push(run.read()!);
  return messages;
}

const body = Buffer.from("body");
const record = { value: body };

const message: fc.Arbitrary<NewMessage> = fc.record(
  {
    // Lengths of one, two and three bytes.
    body: fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(Buffer.alloc(9_000, "b"))),
    key: fc.option(fc.string({ unit: "grapheme", maxLength: 80 }), { nil: undefined }),
    id: fc.option(fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }), { nil: undefined }),
    headers: fc.option(fc.dictionary(fc.string({ minLength: 1 }), fc.string(), { minKeys: 1 }), { nil: undefined }),
  },
  { requiredKeys: ["body"] },
);
const compression = fc.constantFrom("none", "gzip", "snappy", "lz4", "zstd");

test("messages come out of a batch as they were published, whichever are skipped, compressed or not", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(message, fc.boolean()), { minLength: 1 }), compression, (entries, compression) => {
      const records = entries.map(([each]) => recordOf(each, "topic", 0));
      const [run] = runsFrom([stored(records, { first: 1_000, compression })], 1_000).runs;
      for (const [index, [each, skipped]] of entries.entries()) {
        if (skipped) {
          run!.skip();
          continue;
        }
        const read = run!.read()!;
        assert.deepEqual([read.position, read.publishedAt], [BigInt(1_000 + index), 200]);
        const headers = each.headers && Object.fromEntries(Object.entries(each.headers));
        assert.deepEqual([read.key, read.id, read.headers], [each.key, each.id, headers]);
        assert.ok(Buffer.from(each.body).equals(read.body));
      }
      assert.equal(run!.position, run!.end);
    }),
  );
});

test("a batch that ends early, or holds something else, is corrupt and never read without end", () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), fc.nat(), fc.nat(255), (messages, at, byte) => {
      const records = messages.map((each) => recordOf(each, "topic", 0));
      const whole = stored(records, { first: 0 });
      assert.throws(
        () => readAll([whole.subarray(0, 12 + (at % (whole.length - 12)))], 0),
        (error) => error instanceof TenonError && error.code === "corrupt",
      );
      // Records alone, as if they had been written so: what a changed head says cannot be known to be wrong.
      whole[61 + (at % (whole.length - 61))] = byte;
      try {
        readAll([sealed(whole)], 0);
      } catch (error) {
        assert.ok(error instanceof TenonError && error.code === "corrupt", String(error));
      }
    }),
  );
});

test("what other clients wrote is taken as far as it can be: no value, an odd id, a key beyond the limit", () => {
  const nothing = null as unknown as Buffer;
  const longId = new Map([[Buffer.from("tenon-message-id"), Buffer.alloc(300, "i")]]);
  const records = [
    { value: nothing, headers: new Map([[nothing, nothing]]) },
    { value: body, key: Buffer.alloc(70_000, "k"), headers: longId },
  ];
  const [empty, odd] = readAll([stored(records, { first: 0 })], 0);
  assert.deepEqual([empty!.body.length, empty!.key, empty!.headers], [0, undefined, undefined]);
  assert.deepEqual([odd!.key, odd!.id, odd!.headers!["tenon-message-id"]!.length], [undefined, undefined, 300]);
});

test("a record bears its own time where brokers do not stamp batches", () => {
  const records = [record, { value: body, timestamp: 101n }, { value: body, timestamp: 100n + 2n ** 30n }];
  const times = readAll([stored(records, { first: 0, attributes: 0 })], 0).map(({ publishedAt }) => publishedAt);
  assert.deepEqual(times, [100, 101, 100 + 2 ** 30]);
  const earlier = readAll([stored([{ value: body, timestamp: 99n }], { first: 0, attributes: 0 })], 0);
  assert.equal(earlier[0]!.publishedAt, 99);
});

test("positions without a message are told: marks of transactions, and what was compacted", () => {
  const two = stored([record, record], { first: 0 });
  const marks = stored([record], { first: 3, attributes: logAppendTime | control });
  const holes = stored([record, record], { first: 4, deltas: [1, 3], lastOffsetDelta: 4 });
  const { runs, gaps, end } = runsFrom([two, marks, holes], 1);
  assert.deepEqual(
    runs.map((run) => [run.position, run.end, run.read()!.position]),
    [
      [1, 2, 1n],
      [5, 6, 5n],
      [7, 8, 7n],
    ],
  );
  assert.deepEqual(gaps, [
    { from: 2, to: 5 },
    { from: 6, to: 7 },
    { from: 8, to: 9 },
  ]);
  assert.equal(end, 9);
});

test("records that were compacted away in the midst leave runs of those that follow one another", () => {
  const holes = stored([record, record, record], { first: 10, deltas: [0, 4, 5] });
  const { runs, gaps } = runsFrom([holes], 11);
  assert.deepEqual(
    runs.map((run) => [run.position, run.end]),
    [[14, 16]],
  );
  assert.deepEqual(gaps, [{ from: 11, to: 14 }]);
  const emptied = stored([], { first: 20, lastOffsetDelta: 3 });
  assert.deepEqual(runsFrom([emptied], 20).gaps, [{ from: 20, to: 24 }]);
});

test("a batch of another format, or compressed in a way that nobody knows, is refused with its position", () => {
  const old = stored([record], { first: 7 });
  old[16] = 1;
  assert.throws(() => readAll([old], 0), { code: "corrupt", message: /position 7 of orders\/3/ });
  const unknown = stored([record], { first: 8, attributes: logAppendTime | 7 });
  assert.throws(() => readAll([unknown], 0), { code: "unsupported", message: /position 8/ });
  const broken = stored([record], { first: 9, attributes: logAppendTime | 1 });
  assert.throws(() => readAll([broken], 0), { code: "corrupt", message: /position 9/ });
});

test("a batch that the broker cut off is left for the next fetch", () => {
  const batches = [stored([record], { first: 0 }), stored([record, record], { first: 1 })];
  const answer = Buffer.concat([Buffer.from("head"), ...batches, Buffer.from("tail")]);
  const end = answer.length - 4;
  const found = (to: number) => batchesBetween(answer, 4, to).map((bytes) => Number(bytes.readBigInt64BE(0)));
  assert.deepEqual(found(end), [0, 1]);
  assert.deepEqual(found(end - 1), [0]);
  assert.deepEqual(found(4 + batches[0]!.length + 5), [0]);
  assert.deepEqual(found(4), []);
});

test("an answer without one whole batch is corrupt, and nobody asks for it for ever as if nothing were there", () => {
  const batch = stored([record, record], { first: 5 });
  for (let end = 12; end < batch.length; end++) {
    assert.throws(() => readAll(batchesBetween(batch, 0, end), 5), { code: "corrupt", message: /position 5/ });
  }
  const tooLong = stored([record], { first: 6 });
  tooLong.writeInt32BE(2 ** 31 - 1, 8);
  assert.throws(() => readAll(batchesBetween(tooLong, 0, tooLong.length), 6), { code: "corrupt" });
});

test("a length that no batch can have is corrupt", () => {
  const batch = stored([record], { first: 5 });
  batch.writeInt32BE(-12, 8);
  assert.throws(() => readAll(batchesBetween(batch, 0, batch.length), 5), { code: "corrupt", message: /position 5/ });
});

test("a record that goes on behind its end is corrupt", () => {
  const batch = stored([{ value: null as unknown as Buffer }], { first: 5 });
  const lengthOf = (bytes: number) => 2 * bytes;
  assert.equal(batch[61], lengthOf(6));
  batch[61] = lengthOf(5);
  assert.throws(() => readAll([sealed(batch)], 5), { code: "corrupt", message: /position 5/ });
});

test("whoever keeps a message keeps its batch, and not all that came with it", () => {
  const batch = stored([record], { first: 0 });
  const answer = Buffer.alloc(1024 * 1024);
  batch.copy(answer);
  const [kept] = batchesBetween(answer, 0, batch.length);
  assert.ok(kept!.buffer.byteLength < answer.buffer.byteLength);
  assert.deepEqual(kept, batch);
});

test("what could not be read cannot be read when it is asked for again", () => {
  // The record says that its value is longer than the record; its value looks like records.
  const inner = Buffer.concat([
    client.createRecord({ topic: "topic", timestamp: 100n, value: Buffer.from("forged") } as never, 1, 100n).buffer,
  ]);
  const bytes = stored([{ value: inner }, { value: body }], { first: 10 });
  // length, attributes, timestamp delta, offset delta, key length, value length
  const at = 61 + 5;
  assert.equal(bytes[at], inner.length * 2);
  bytes[at] = 0x7e;
  sealed(bytes);
  const [run] = runsFrom([bytes], 10).runs;
  assert.throws(() => run!.read(), /no record of its format/);
  assert.throws(() => run!.read(), /no record of its format/);
});
