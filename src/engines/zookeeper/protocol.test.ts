import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TenonError } from "../../contracts/errors.ts";
import {
  anyVersion,
  ProtocolReader,
  ProtocolWriter,
  readResults,
  requestOf,
  types,
  writeOperations,
} from "./protocol.ts";

test("a transaction is written as ZooKeeper reads it", () => {
  const acls = [{ permissions: 31, scheme: "world", id: "anyone" }];
  const request = writeOperations(requestOf(7, types.multi), [
    { type: "check", path: "/a", version: 0 },
    { type: "create", path: "/b", data: Buffer.from("x"), acls },
    { type: "remove", path: "/c", version: anyVersion },
  ]);
  const reader = new ProtocolReader(request.frame().subarray(4));
  assert.deepEqual([reader.int(), reader.int()], [7, types.multi]);
  const head = () => [reader.int(), reader.bool(), reader.int()];
  assert.deepEqual([...head(), reader.text(), reader.int()], [types.check, false, -1, "/a", 0]);
  assert.deepEqual([...head(), reader.text(), reader.text()], [types.create, false, -1, "/b", "x"]);
  assert.deepEqual(
    [reader.int(), reader.int(), reader.text(), reader.text(), reader.int()],
    [1, 31, "world", "anyone", 0],
  );
  assert.deepEqual([...head(), reader.text(), reader.int()], [types.remove, false, -1, "/c", -1]);
  assert.deepEqual(head(), [-1, true, -1]);
});

test("the first error of a transaction is found behind results that were taken back", () => {
  const writer = new ProtocolWriter();
  for (const code of [0, -103, -2]) writer.int(-1).bool(false).int(code).int(code);
  writer.int(-1).bool(true).int(-1);
  assert.equal(readResults(new ProtocolReader(writer.frame().subarray(4))).failed, -103);
});

test("what a transaction made of a node that it set is found among the results of its other parts", () => {
  const writer = new ProtocolWriter();
  const part = (type: number) => writer.int(type).bool(false).int(0);
  part(types.check);
  part(types.create).text("/b");
  part(types.setData).long(1n).long(77n).long(2n).long(1_000n).int(3);
  writer.int(0).int(0).long(0n).int(0).int(0).long(0n);
  writer.int(-1).bool(true).int(-1);
  const { failed, written } = readResults(new ProtocolReader(writer.frame().subarray(4)));
  assert.deepEqual([failed, written], [0, [{ change: 77, changedAt: 1_000, version: 3 }]]);
});

test("whatever comes is read or refused as corrupt, and ends", () => {
  const readings: readonly ((reader: ProtocolReader) => unknown)[] = [
    (reader) => readResults(reader),
    (reader) => reader.texts(),
    (reader) => [reader.bytes(), reader.stat()],
    (reader) => [reader.int(), reader.long(), reader.int(), reader.text()],
  ];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(...readings), (bytes, read) => {
      try {
        read(new ProtocolReader(Buffer.from(bytes)));
      } catch (error) {
        assert.ok(error instanceof TenonError && error.code === "corrupt", String(error));
      }
    }),
    { numRuns: 1_000 },
  );
});
