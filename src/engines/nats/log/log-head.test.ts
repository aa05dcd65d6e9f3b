import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeLogPlace,
  decodeLogRun,
  emptyAfterRun,
  encodeLogRun,
  endOf,
  type LogHead,
  newLogPartition,
  runAfter,
} from "./log-head.ts";

const head: LogHead = {
  first: 7,
  count: 3,
  at: 1_700_000_000_123,
  before: 5_000_000_000,
  bytes: 300,
  producers: new Map([["p", { usedAt: 1_700_000_000_100.5, marks: Buffer.from([1, 2, 3]) }]]),
  writers: new Map([
    ["never numbered", { epoch: 12, sequence: -1 }],
    ["wörter", { epoch: 2 ** 40, sequence: 0 }],
  ]),
};

test("a run comes back as it was written, and whoever looks where it lies need not read all of it", () => {
  const bytes = encodeLogRun(head, [Buffer.from("records"), Buffer.from(" and more")]);
  assert.deepEqual(decodeLogRun(bytes), { head, packed: Buffer.from("records and more") });
  const { producers: _, writers: __, ...place } = head;
  assert.deepEqual(decodeLogPlace(bytes), place);
});

test("positions and bytes of a run go on from the one before, also over empty ones", () => {
  const empty = emptyAfterRun(head);
  assert.deepEqual([empty.first, empty.count, empty.before, empty.bytes], [10, 0, 5_000_000_300, 0]);
  assert.equal(empty.at, head.at);
  const next = runAfter(empty, { count: 2, bytes: 40, now: head.at + 1.7 });
  assert.deepEqual([next.first, next.count, next.before, next.bytes], [10, 2, 5_000_000_300, 40]);
  assert.equal(next.at, head.at + 1);
  assert.equal(endOf(next), 12);
  assert.deepEqual(next.writers, head.writers);
});

test("instants never go back, whatever clock is read", () => {
  assert.equal(runAfter(head, { count: 1, bytes: 1, now: head.at - 60_000 }).at, head.at);
});

test("what is no run is corrupt", () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from([9, 9, 9]), encodeLogRun(newLogPartition, []).subarray(0, 3)])
    assert.throws(() => decodeLogRun(bytes), { code: "corrupt" });
});
