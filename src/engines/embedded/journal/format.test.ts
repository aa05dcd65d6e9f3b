import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  BATCH_HEADER_BYTES,
  type BatchHeader,
  encodeFooter,
  FOOTER_PAGE_BYTES,
  findRecordFault,
  RECORD_HEADER_BYTES,
  readBatchHeader,
  readTrailer,
  recordBytes,
  recordIsValid,
  recordKind,
  recordPayload,
  sealBatch,
  segmentFileName,
  segmentOfFileName,
  writeRecordHeader,
} from "./format.ts";

const records = fc.array(fc.record({ kind: fc.nat(255), payload: fc.uint8Array({ maxLength: 300 }) }), {
  maxLength: 20,
});
const header = fc.record({
  role: fc.constantFrom("data", "snapshot", "snapshot-end", "footer", "closed"),
  identity: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  epoch: fc.nat(2 ** 31),
  segment: fc.nat(2 ** 20),
  offset: fc.nat(2 ** 28).map((eighth) => eighth * 8),
  durableSegment: fc.nat(2 ** 20),
  durableOffset: fc.nat(2 ** 31),
}) satisfies fc.Arbitrary<Omit<BatchHeader, "length" | "count" | "recordsChecksum">>;

function encode(
  batch: typeof records extends fc.Arbitrary<infer T> ? T : never,
  fields: typeof header extends fc.Arbitrary<infer T> ? T : never,
): Buffer {
  const size = batch.reduce((sum, { payload }) => sum + recordBytes(payload.length), BATCH_HEADER_BYTES);
  const bytes = Buffer.alloc(size, 0xee);
  let at = BATCH_HEADER_BYTES;
  for (const { kind, payload } of batch) {
    writeRecordHeader(bytes, at, kind, payload.length);
    bytes.set(payload, at + RECORD_HEADER_BYTES);
    at += recordBytes(payload.length);
  }
  sealBatch(bytes, 0, size, fields);
  return bytes;
}

test("any batch is read as it was written", () => {
  fc.assert(
    fc.property(records, header, (batch, fields) => {
      const bytes = encode(batch, fields);
      const read = readBatchHeader(bytes, 0);
      assert.ok(read !== undefined);
      const { length, count, recordsChecksum: _, ...rest } = read;
      assert.deepEqual({ ...rest }, { ...fields });
      assert.equal(length, bytes.length);
      assert.equal(count, batch.length);
      assert.equal(findRecordFault(bytes, 0, read), undefined);
      let at = BATCH_HEADER_BYTES;
      for (const { kind, payload } of batch) {
        assert.equal(recordKind(bytes, at), kind);
        assert.ok(recordPayload(bytes, at).equals(payload));
        assert.ok(recordIsValid(bytes, at, fields.segment, fields.offset + at));
        assert.ok(!recordIsValid(bytes, at, fields.segment + 1, fields.offset + at), "valid in its segment only");
        assert.ok(!recordIsValid(bytes, at, fields.segment, fields.offset + at + 8), "valid in its place only");
        at += recordBytes(payload.length);
      }
    }),
  );
});

test("one flipped bit in a header or a record is found", () => {
  fc.assert(
    fc.property(records, header, fc.nat(), (batch, fields, random) => {
      const bytes = encode(batch, fields);
      const bit = random % (bytes.length * 8);
      const byte = bit >> 3;
      bytes[byte] = bytes[byte]! ^ (1 << (bit & 7));
      const read = readBatchHeader(bytes, 0);
      if (read === undefined) return;
      if (findRecordFault(bytes, 0, read) !== undefined) return;
      // Only bytes that mean nothing may differ: three zeros in a record's header, and padding.
      let at = BATCH_HEADER_BYTES;
      for (const { kind, payload } of batch) {
        assert.equal(recordKind(bytes, at), kind);
        assert.ok(recordPayload(bytes, at).equals(payload));
        at += recordBytes(payload.length);
      }
    }),
    { numRuns: 2000 },
  );
});

test("a footer's batch and trailer are read as they were written", () => {
  for (const size of [0, 1, FOOTER_PAGE_BYTES, FOOTER_PAGE_BYTES + 1]) {
    const footer = Buffer.alloc(size, "footer");
    const encoded = encodeFooter(footer, 9, 77n, 4096);
    sealBatch(encoded.bytes, 0, encoded.batchBytes, {
      role: "footer",
      identity: 77n,
      epoch: 1,
      segment: 9,
      offset: 4096,
      durableSegment: 9,
      durableOffset: 4096,
    });
    const read = readBatchHeader(encoded.bytes, 0);
    assert.ok(
      read !== undefined && findRecordFault(encoded.bytes.subarray(0, encoded.batchBytes), 0, read) === undefined,
    );
    assert.equal(encoded.pageChecksums.length, Math.ceil(size / FOOTER_PAGE_BYTES));
    assert.ok(encoded.payload.equals(footer));
    assert.deepEqual(readTrailer(encoded.bytes, encoded.batchBytes), {
      segment: 9,
      identity: 77n,
      footerBatchOffset: 4096,
      footerBytes: size,
      fileBytes: 4096 + encoded.bytes.length,
    });
  }
});

test("a segment's number is in its file's name, and other names are no segments", () => {
  assert.equal(segmentFileName(255), "00000000000000ff.journal");
  for (const segment of [1, 15, 2 ** 20]) assert.equal(segmentOfFileName(segmentFileName(segment)), segment);
  for (const name of [
    "reserve",
    "0000000000000000.journal",
    "00000000000000FF.journal",
    "00ff.journal",
    "ffffffffffffffff.journal",
  ]) {
    assert.equal(segmentOfFileName(name), undefined);
  }
});
