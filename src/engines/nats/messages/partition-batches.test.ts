import assert from "node:assert/strict";
import { test } from "node:test";
import type { Batch, MessageCapabilities, NewMessage, ProducerMark } from "../../../contracts/messages.ts";
import { checkBatch } from "../../lanes/batches.ts";
import { Run } from "../../lanes/message-format.ts";
import { writeBatches } from "./partition-batches.ts";
import { decodePlace, decodeRun, emptyAfter, encodeRun, newPartition, type PartitionHead } from "./partition-head.ts";

const capabilities = { keyBytesMax: 1_000, messageBytesMax: 1_000, batchBytesMax: 10_000 } as MessageCapabilities;
const now = 1_000_000;

function batch(messages: readonly (string | NewMessage)[], producer?: Partial<ProducerMark>) {
  const all = messages.map((each) => (typeof each === "string" ? { body: Buffer.from(each) } : each));
  const mark = producer && { id: "p", epoch: 0, sequence: 0, ...producer };
  return checkBatch({ topic: "t", partition: 0, messages: all, producer: mark } satisfies Batch, capabilities);
}

function write(head: PartitionHead, ...batches: readonly ReturnType<typeof batch>[]) {
  return writeBatches(head, batches, { epochs: new Map(), now });
}

/** As it comes back from the server. */
function stored(written: ReturnType<typeof write>) {
  return decodeRun(encodeRun(written.head, written.packed));
}

function texts({ head, packed }: ReturnType<typeof stored>): string[] {
  const run = new Run(head.first + head.count, head.count, 0, packed);
  return Array.from({ length: head.count }, () => Buffer.from(run.read().body).toString());
}

test("batches that go together are one run, with positions that follow each other", () => {
  const first = write(newPartition, batch(["a", "b"]), batch(["c"]));
  assert.deepEqual(first.answers, [{ positions: 0 }, { positions: 2 }]);
  const second = write(stored(first).head, batch(["d"]));
  assert.deepEqual(second.answers, [{ positions: 3 }]);
  assert.deepEqual(texts(stored(first)), ["a", "b", "c"]);
  assert.deepEqual(decodePlace(encodeRun(second.head, second.packed)), { first: 3, count: 1 });
});

test("what a producer repeats is answered with its positions, within a run and across runs", () => {
  const repeated = batch(["a"], { sequence: 0 });
  const first = write(newPartition, repeated, repeated, batch(["b"], { sequence: 1 }));
  assert.deepEqual(first.answers, [{ positions: 0 }, { positions: 0 }, { positions: 1 }]);
  const second = write(stored(first).head, repeated);
  assert.deepEqual([second.answers, second.changed], [[{ positions: 0 }], false]);
});

test("a head that was built upon stays what it was, for the next attempt", () => {
  const head = stored(write(newPartition, batch(["a"], { sequence: 0 }))).head;
  const before = encodeRun(head, []);
  write(head, batch(["b"], { sequence: 1 }));
  assert.deepEqual(encodeRun(head, []), before);
});

test("one that is refused takes nothing of the others with it", () => {
  const written = write(newPartition, batch(["a"], { sequence: 0 }), batch(["x"], { sequence: 7 }), batch(["b"]));
  assert.deepEqual(written.answers, [{ positions: 0 }, { refused: "gap", expected: 1 }, { positions: 1 }]);
  assert.deepEqual(texts(stored(written)), ["a", "b"]);
});

test("what is sealed takes nothing new, answers what it has, and says so for as long as it was ever sealed", () => {
  const repeated = batch(["a"], { sequence: 0 });
  const { head } = stored(write(newPartition, repeated));
  const sealed = stored(write({ ...emptyAfter(head), seal: { version: 1, note: "moved" } })).head;
  const refused = { refused: "sealed", sealed: "moved" };
  const later = batch([{ body: Buffer.from("x"), dueAt: now + 1 }]);
  const written = write(sealed, repeated, batch(["b"], { sequence: 1 }), later);
  assert.deepEqual([written.answers, written.changed], [[{ positions: 0 }, refused, refused], false]);
  const opened = { ...sealed, seal: { version: 2, note: "" } };
  const next = stored(write(opened, batch(["b"], { sequence: 1 })));
  assert.deepEqual([next.head.seal, texts(next)], [{ version: 2, note: "" }, ["b"]]);
});

test("a delayed message has no position yet, and the head says when to look for it", () => {
  const later = { body: Buffer.from("later"), dueAt: now + 10.5 };
  const sooner = { body: Buffer.from("sooner"), dueAt: now + 5 };
  const past = { body: Buffer.from("past"), dueAt: now };
  const written = write(newPartition, batch(["a", later, past, sooner]));
  assert.deepEqual(written.answers, [{ positions: [0, -1, 1, -1] }]);
  assert.equal(written.fresh, 4);
  const { head } = stored(written);
  assert.deepEqual([head.count, head.dueAt], [2, now + 5]);
  assert.deepEqual(
    head.later.map(({ dueAt }) => dueAt),
    [now + 11, now + 5],
  );
  assert.equal(write(head, batch(["b"])).head.dueAt, now + 5);
});

test("what is due no later than what was released is not delayed, whatever the own clock says", () => {
  const head = { ...newPartition, released: { dueAt: now + 50, sequence: 1, index: 0 } };
  const due = write(head, batch([{ body: Buffer.from("a"), dueAt: now + 50 }]));
  assert.deepEqual(due.answers, [{ positions: [0] }]);
  const later = write(head, batch([{ body: Buffer.from("a"), dueAt: now + 51 }]));
  assert.deepEqual(later.answers, [{ positions: [-1] }]);
});

test("producers that were not heard of for long are forgotten, and the rest is kept", () => {
  let { head } = stored(write(newPartition, batch(["a"], { id: "old" }), batch(["b"], { id: "new" })));
  const producers = new Map(head.producers);
  producers.set("old", { ...producers.get("old")!, usedAt: now - 3_600_000 });
  head = { ...head, producers };
  const { head: after } = stored(write(head, batch(["c"])));
  assert.deepEqual([...after.producers.keys()], ["new"]);
  // Whatever it sends next is taken for what comes next.
  assert.deepEqual(write(after, batch(["d"], { id: "old", sequence: 9 })).answers, [{ positions: 3 }]);
});

test("a higher epoch is to be made known, and one that is fenced elsewhere is refused", () => {
  const raised = write(newPartition, batch(["a"], { epoch: 3 }));
  assert.deepEqual([...raised.raised], [["p", 3]]);
  const parts = { epochs: new Map([["p", 4]]), now };
  assert.deepEqual(writeBatches(newPartition, [batch(["a"], { epoch: 3 })], parts).answers, [
    { refused: "fenced", epoch: 4 },
  ]);
});
