import assert from "node:assert/strict";
import { test } from "node:test";
import * as client from "@platformatic/kafka";
import fc from "fast-check";
import { sealed, stored, storedAs } from "./fixtures.test.ts";
import { openBatches } from "./opened-batches.ts";
import { RecordBatch } from "./record-batch.ts";

const place = { topic: "orders", partition: 3 };
const compressed = ["gzip", "snappy", "lz4", "zstd"] as const;
const record = { value: Buffer.from("body") };

function open(batches: readonly Buffer[], decompressedBytesMax: number) {
  return openBatches(batches, place, client, decompressedBytesMax).map(({ first }) => first);
}

for (const compression of compressed) {
  test(`a batch may come to as much as it may when it is decompressed, and to no byte more: ${compression}`, () => {
    const batch = stored([{ value: Buffer.alloc(4_000_000) }], { first: 7, compression });
    const [plain] = openBatches([batch], place, client, 5_000_000);
    const { length } = plain!.records;
    assert.ok(batch.length < length / 10);
    assert.deepEqual(open([batch], length), [7]);
    assert.throws(() => open([batch], length - 1), {
      code: "unsupported",
      message: /position 7 of orders\/3 is larger than \d+ bytes .* raise decompressedBytesMax/,
      fields: { ...place, position: 7, decompressedBytesMax: length - 1 },
    });
  });
}

test("codecs without a limit of their own are not asked to decompress what is too large", () => {
  const untouched = { crc32c: client.crc32c, compressionsAlgorithmsByBitmask: {} };
  for (const compression of ["snappy", "lz4"] as const) {
    const batch = stored([{ value: Buffer.alloc(50_000) }], { first: 0, compression });
    assert.throws(() => openBatches([batch], place, untouched, 50_000), { code: "unsupported" });
  }
});

test("snappy in chunks, as clients in Java write it, counts as what its chunks come to", () => {
  const records = stored([{ value: Buffer.alloc(30_000) }], { first: 0 }).subarray(61);
  const chunks = [records.subarray(0, 10_000), records.subarray(10_000)].flatMap((chunk) => {
    const bytes = client.compressionsAlgorithms.snappy.compressSync(chunk);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return [length, bytes];
  });
  const head = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
  const batch = storedAs(Buffer.concat([head, ...chunks]), { first: 0, count: 1, lastOffsetDelta: 0, attributes: 2 });
  assert.deepEqual(open([batch], records.length), [0]);
  assert.throws(() => open([batch], records.length - 1), { code: "unsupported" });
});

test("what comes to the same when it is decompressed is taken to come to it, whatever it holds", () => {
  // Runs of a few bytes make sequences of all lengths; what is random is not compressed.
  const run = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 3_000 }));
  const value = fc.array(run, { maxLength: 12 }).map((runs) => {
    return Buffer.concat(runs.flatMap(([bytes, times]) => new Array<Uint8Array>(times).fill(bytes)));
  });
  fc.assert(
    fc.property(value, fc.constantFrom(...compressed), (value, compression) => {
      const plain = RecordBatch.open(stored([{ value }], { first: 0 }), place, client, 1);
      const batch = stored([{ value }], { first: 0, compression });
      assert.deepEqual(open([batch], plain.records.length), [0]);
      assert.throws(() => open([batch], plain.records.length - 1), { code: "unsupported" });
    }),
  );
});

test("what is no compression, or is cut off, is corrupt", () => {
  fc.assert(
    fc.property(fc.constantFrom(...compressed), fc.nat(), fc.nat(255), (compression, at, byte) => {
      const batch = stored([{ value: Buffer.from("body ".repeat(50)) }], { first: 9, compression });
      const content = batch.subarray(61);
      const cut = content.subarray(0, at % content.length);
      const attributes = batch.readInt16BE(21);
      const head = { first: 9, count: 1, lastOffsetDelta: 0, attributes };
      assert.throws(() => open([storedAs(Buffer.from(cut), head)], 10_000), { code: "corrupt", message: /position 9/ });
      content[at % content.length] = byte;
      try {
        open([sealed(batch)], 10_000);
      } catch (error) {
        assert.match(String((error as { code?: unknown }).code), /^(corrupt|unsupported)$/);
      }
    }),
  );
});

test("a batch that is not as it was stored does not have its checksum, whichever byte differs", () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), fc.constantFrom("none", ...compressed), (at, by, how) => {
      const batch = stored([record, record], { first: 5, compression: how });
      const behind = 17 + (at % (batch.length - 17));
      batch[behind] = batch[behind]! ^ by;
      assert.throws(() => open([batch], 10_000), {
        code: "corrupt",
        message: /position 5 of orders\/3 .* checksum/,
        fields: { ...place, position: 5 },
      });
    }),
  );
});

test("the broker's own marks, which change from one to the next, are no damage", () => {
  const batch = stored([record], { first: 5 });
  batch.writeBigInt64BE(6n, 0);
  batch.writeInt32BE(17, 12);
  assert.deepEqual(open([batch], 1), [6]);
});

test("what stands before a batch that cannot be opened is answered, and then it throws", () => {
  const good = stored([record], { first: 0 });
  const after = stored([record], { first: 2 });
  const damaged = stored([record], { first: 1 });
  damaged[70] = 99;
  const large = stored([{ value: Buffer.alloc(5_000) }], { first: 1, compression: "gzip" });
  for (const [bad, code] of [
    [damaged, "corrupt"],
    [large, "unsupported"],
  ] as const) {
    assert.deepEqual(open([good, bad, after], 1_000), [0]);
    assert.throws(() => open([bad, after], 1_000), { code });
  }
});

test("batches come to no more together than one may; those that are left come with the next fetch", () => {
  const batches = [0, 1, 2, 3].map((first) => stored([{ value: Buffer.alloc(5_000) }], { first, compression: "zstd" }));
  assert.deepEqual(open(batches, 12_000), [0, 1]);
  assert.deepEqual(open(batches.slice(2), 6_000), [2]);
  assert.deepEqual(open(batches.slice(2), 12_000), [2, 3]);
  const plain = [4, 5].map((first) => stored([{ value: Buffer.alloc(5_000) }], { first }));
  assert.deepEqual(open(plain, 6_000), [4, 5]);
});
