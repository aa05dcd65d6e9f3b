import assert from "node:assert/strict";
import { test } from "node:test";
import type { FetchedPartition } from "../fetching/fetching.ts";
import type { KafkaBatch } from "../fetching/kafka-batch.ts";
import { committedRecords } from "./committed.ts";

const transactional = 16;
const control = 32;

function batch(first: number, texts: readonly string[], more: Partial<KafkaBatch> = {}): KafkaBatch {
  return {
    firstOffset: BigInt(first),
    partitionLeaderEpoch: 0,
    attributes: 8,
    lastOffsetDelta: texts.length - 1,
    firstTimestamp: 0n,
    maxTimestamp: 100n,
    producerId: -1n,
    records: texts.map((text, offsetDelta) => ({
      timestampDelta: 0n,
      offsetDelta,
      key: null,
      value: Buffer.from(text),
      headers: [],
    })),
    ...more,
  };
}

const part = (producerId: bigint, first: number, ...texts: readonly string[]) =>
  batch(first, texts, { producerId, attributes: 8 | transactional });

function mark(producerId: bigint, at: number, isCommitted: boolean): KafkaBatch {
  const marked = part(producerId, at, "");
  const key = Buffer.from([0, 0, 0, isCommitted ? 1 : 0]);
  return { ...marked, attributes: marked.attributes | control, records: [{ ...marked.records[0]!, key }] };
}

function fetched(
  records: readonly KafkaBatch[],
  abortedTransactions: FetchedPartition["abortedTransactions"] = [],
): FetchedPartition {
  return { highWatermark: 100n, lastStableOffset: 100n, hasDiverged: false, batches: records, abortedTransactions };
}

function seen(of: FetchedPartition, from = 0n, limit = 100) {
  const { records, next } = committedRecords(of, from, limit);
  return [records.map(({ position, body }) => `${position}${Buffer.from(body)}`).join(" "), next];
}

test("records of transactions that were given up are left out, and those around them are not", () => {
  const records = [
    part(1n, 0, "a", "b"),
    part(2n, 2, "c"),
    batch(3, ["d"]),
    mark(1n, 4, false),
    part(1n, 5, "e"),
    mark(2n, 6, true),
    mark(1n, 7, true),
    part(1n, 8, "f"),
    mark(1n, 9, false),
  ];
  const aborted = [
    { producerId: 1n, firstOffset: 8n },
    { producerId: 1n, firstOffset: 0n },
  ];
  assert.deepEqual(seen(fetched(records, aborted)), ["2c 3d 5e", 10n]);
});

test("a transaction that began before what was fetched is known all the same", () => {
  const records = [part(1n, 5, "b"), mark(1n, 6, false), part(1n, 7, "c"), mark(1n, 8, true)];
  assert.deepEqual(seen(fetched(records, [{ producerId: 1n, firstOffset: 2n }]), 5n), ["7c", 9n]);
});

test("a page begins and ends in the midst of a batch, and goes on past what is no record", () => {
  const records = [batch(0, ["a", "b", "c", "d"]), mark(1n, 4, true)];
  assert.deepEqual(seen(fetched(records), 1n, 2), ["1b 2c", 3n]);
  assert.deepEqual(seen(fetched(records), 3n, 1), ["3d", 5n]);
  assert.deepEqual(seen(fetched([mark(1n, 4, true)]), 4n), ["", 5n]);
  assert.deepEqual(seen(fetched([]), 5n), ["", 5n]);
});

test("what other clients left out is empty, or undefined", () => {
  const [record] = batch(0, ["a"]).records;
  const headers = [
    [Buffer.from("h"), null],
    [null, null],
  ] as const;
  const theirs = batch(0, [], { lastOffsetDelta: 0, records: [{ ...record!, value: null, headers }] });
  const [read] = committedRecords(fetched([theirs]), 0n, 1).records;
  assert.deepEqual([read!.body.length, read!.key, read!.headers, read!.appendedAt], [0, undefined, { h: "" }, 100]);
});
