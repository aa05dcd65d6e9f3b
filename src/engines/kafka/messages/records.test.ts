import assert from "node:assert/strict";
import { test } from "node:test";
import type { NewMessage } from "../../../contracts/messages.ts";
import type { KafkaBatch, KafkaRecord } from "../clients.ts";
import { recordOf, runsOf } from "./records.ts";

function stored(message: NewMessage, offsetDelta: number): KafkaRecord {
  const { key, value, headers } = recordOf(message, "topic", 0);
  return { timestampDelta: BigInt(offsetDelta), offsetDelta, key: key ?? null, value, headers: [...(headers ?? [])] };
}

function batch(firstOffset: number, records: readonly KafkaRecord[], more: Partial<KafkaBatch> = {}): KafkaBatch {
  return {
    firstOffset: BigInt(firstOffset),
    partitionLeaderEpoch: 0,
    attributes: 8,
    lastOffsetDelta: (records.at(-1)?.offsetDelta ?? 0) as number,
    firstTimestamp: 100n,
    maxTimestamp: 200n,
    producerId: -1n,
    records,
    ...more,
  };
}

const body = Buffer.from("body");

test("a message comes back as it was, its id among the headers meanwhile", () => {
  const message = { body, key: "käse", id: "id-1", headers: { a: "1", __proto__x: "2" } };
  const { runs } = runsOf([batch(7, [stored(message, 0)])], 7);
  const { key, id, headers, position, publishedAt, ...rest } = runs[0]!.read();
  assert.deepEqual([key, id, { ...headers }, position, publishedAt], ["käse", "id-1", message.headers, 7n, 200]);
  assert.ok(rest !== undefined);
});

test("what other clients wrote is taken as far as it can be: no value, an odd id, a key beyond the limit", () => {
  const records: KafkaRecord[] = [
    { timestampDelta: 0n, offsetDelta: 0, key: null, value: null, headers: [[null, null]] },
    {
      timestampDelta: 0n,
      offsetDelta: 1,
      key: Buffer.alloc(70_000, "k"),
      value: body,
      headers: [[Buffer.from("tenon-message-id"), Buffer.alloc(300, "i")]],
    },
  ];
  const [run] = runsOf([batch(0, records)], 0).runs;
  const empty = run!.read();
  assert.deepEqual([empty.body.length, empty.key, empty.headers], [0, undefined, undefined]);
  const odd = run!.read();
  assert.deepEqual([odd.key, odd.id, odd.headers!["tenon-message-id"]!.length], [undefined, undefined, 300]);
});

test("records of one batch with times of their own are runs of their own", () => {
  const records = [stored({ body }, 0), stored({ body }, 1)];
  const { runs } = runsOf([batch(0, records, { attributes: 0 })], 0);
  assert.deepEqual(
    runs.map((run) => [run.position, run.end, run.publishedAt]),
    [
      [0, 1, 100],
      [1, 2, 101],
    ],
  );
});

test("positions without a message are told: marks of transactions, and what was compacted", () => {
  const marks = batch(3, [stored({ body }, 0)], { attributes: 8 | 32 });
  const holes = batch(4, [stored({ body }, 1), stored({ body }, 3)], { lastOffsetDelta: 4 });
  const { runs, gaps, end } = runsOf([batch(0, [stored({ body }, 0), stored({ body }, 1)]), marks, holes], 1);
  assert.deepEqual(
    runs.map((run) => [run.position, run.end]),
    [
      [1, 2],
      [5, 6],
      [7, 8],
    ],
  );
  assert.deepEqual(gaps, [
    { from: 2, to: 5 },
    { from: 6, to: 7 },
    { from: 8, to: 9 },
  ]);
  assert.equal(end, 9);
});
