import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaseState } from "../../shared/leases/lease-state.ts";
import { KnownRows } from "./known-rows.ts";
import { LeaseRow } from "./lease-row.ts";

const clock = { now: () => 0, monotonic: () => 0 };
const bytesMax = 9 * 1024 * 1024;

function noteHeld(known: KnownRows, name: string, holders: number, data: string): void {
  const state = new LeaseState();
  for (let index = 0; index < holders; index++) {
    const request = { holder: `${index}`, ttlMs: 30_000, waitMs: 0, weight: 1, capacity: holders, data };
    state.acquire(request, { waits: false, channel: "", patienceMs: 0, token: () => index + 1 }, 0);
  }
  const row = new LeaseRow(state, 0);
  row.encodeUnstamped();
  known.note(name, row, { now: 0, number: 1 });
}

test("rows are known for as many bytes as there is room for, however large each is, and those that were written last", () => {
  const known = new KnownRows(clock);
  const count = 1_000;
  for (let index = 0; index < count; index++) noteHeld(known, `${index}`, 2, "d".repeat(4_096));
  assert.ok(known.bytes > bytesMax / 2 && known.bytes <= bytesMax, `${known.bytes} bytes`);
  assert.equal(known.take("0"), undefined);
  assert.notEqual(known.take(`${count - 1}`), undefined);
});

test("what is taken, forgotten or doubted leaves its room to others", () => {
  const known = new KnownRows(clock);
  for (const name of ["a", "b", "c"]) noteHeld(known, name, 100, "data");
  const three = known.bytes;
  known.take("a");
  known.forget("b");
  known.doubt("c");
  assert.ok(known.bytes < three / 50, `${known.bytes} of ${three} bytes`);
});

test("a row that has no room at all drives no other one out", () => {
  const known = new KnownRows(clock);
  noteHeld(known, "small", 1, "");
  noteHeld(known, "huge", 1_000, "d".repeat(4_096));
  assert.equal(known.take("huge"), undefined);
  assert.notEqual(known.take("small"), undefined);
});

test("names that had to be made again are counted for as many bytes as there is room for", () => {
  const known = new KnownRows(clock);
  for (let index = 0; index < 5_000; index++) {
    for (let times = 0; times < 2; times++) known.made(`${index} ${"n".repeat(1_000)}`);
  }
  assert.ok(known.bytes <= bytesMax - 8 * 1024 * 1024, `${known.bytes} bytes`);
  assert.equal(known.isFrequent(`0 ${"n".repeat(1_000)}`), false);
  assert.equal(known.isFrequent(`4999 ${"n".repeat(1_000)}`), true);
});
