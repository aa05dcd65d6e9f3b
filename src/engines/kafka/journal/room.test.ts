import assert from "node:assert/strict";
import { test } from "node:test";
import { Room, type RoomParts } from "./room.ts";

const lows = [0, 0];
const parts = (more: Partial<RoomParts> = {}): RoomParts => ({
  countMax: 5,
  evicts: false,
  delayed: 0,
  settled: (partition) => lows[partition]!,
  settleForAll: () => assert.fail("nothing is to be evicted"),
  ...more,
});

function ask(room: Room, admission: string, counts: readonly number[], now = 0, partition = 0, end = 0) {
  return {
    admitted: (more?: Partial<RoomParts>) =>
      room.admit({ kind: "admit", topic: 1, partition, admission, counts, end }, parts(more), now),
  };
}

test("each batch that fits is let in, and one that does not is refused by itself", () => {
  const room = new Room(2);
  room.note([1, 1]);
  assert.deepEqual(ask(room, "a", [2, 4, 1]).admitted(), { decisions: ["yes", "full", "yes"], countMax: 5, count: 2 });
});

test("whoever appends is waited for, and what it appends counts also in other partitions", () => {
  const room = new Room(2);
  ask(room, "a", [3]).admitted();
  assert.equal(ask(room, "b", [1]).admitted(), "busy");
  assert.deepEqual(ask(room, "c", [3], 0, 1).admitted(), { decisions: ["full"], countMax: 5, count: 3 });
  room.appended(0, "a", 3);
  assert.deepEqual(ask(room, "b", [2]).admitted(), { decisions: ["yes"], countMax: 5, count: 3 });
});

test("what somebody appends who is not heard of any more counts for a while, and delays nobody", () => {
  const room = new Room(2);
  ask(room, "dead", [3]).admitted();
  assert.deepEqual(ask(room, "b", [3], 1_000).admitted(), { decisions: ["full"], countMax: 5, count: 3 });
  assert.deepEqual(ask(room, "b", [3], 15_000).admitted(), { decisions: ["yes"], countMax: 5, count: 0 });
});

test("only what is stored is evicted, the rest waits for its turn", () => {
  const room = new Room(2);
  room.note([4, 1]);
  const evicted: [number, number][] = [];
  const more = { evicts: true, settleForAll: (partition: number, below: number) => evicted.push([partition, below]) };
  const { decisions } = ask(room, "a", [3, 2, 1, 6]).admitted(more) as { decisions: readonly string[] };
  assert.deepEqual(decisions, ["yes", "yes", "later", "full"]);
  assert.deepEqual(evicted.sort(), [
    [0, 4],
    [1, 1],
  ]);
});

test("what is delayed counts, and is not evicted", () => {
  const room = new Room(2);
  room.note([2, 0]);
  assert.deepEqual(ask(room, "a", [1]).admitted({ delayed: 3 }), { decisions: ["full"], countMax: 5, count: 5 });
  const more = { evicts: true, delayed: 3, settleForAll: () => undefined };
  assert.deepEqual(ask(room, "b", [1, 2, 3]).admitted(more), {
    decisions: ["yes", "later", "full"],
    countMax: 5,
    count: 5,
  });
});

test("a position without a message keeps nothing, and is passed over when messages are evicted", () => {
  const room = new Room(2);
  room.appended(0, "", 6, [1, 2]);
  assert.deepEqual(ask(room, "a", [1]).admitted(), { decisions: ["yes"], countMax: 5, count: 4 });
  room.appended(0, "a", 7);
  const evicted: [number, number][] = [];
  const more = { evicts: true, settleForAll: (partition: number, below: number) => evicted.push([partition, below]) };
  ask(room, "b", [2]).admitted(more);
  assert.deepEqual(evicted, [[0, 4]]);
});
