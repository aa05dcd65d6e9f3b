import assert from "node:assert/strict";
import { test } from "node:test";
import { onMemory } from "./fixtures.test.ts";
import { type SeekTarget, type Topic, text, topic } from "./index.ts";

const options = { codec: text(), groups: ["g"], partitions: 1 };

function range(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

async function isSettled(notes: Topic<string>): Promise<boolean> {
  return (await notes.lag("g")).messages === 0;
}

test("a group seeks back and forth, to an instant, to a position and to either end, while it consumes", () =>
  onMemory(async ({ engine, until, world, sleep }) => {
    const notes = topic(engine, "notes", options);
    const receipts = [];
    const instants: number[] = [];
    for (const value of range(10)) {
      instants.push(world.clock.now());
      receipts.push(await notes.publish(value, { key: "k" }));
      await sleep(1_000);
    }
    const seen: string[] = [];
    const consumer = await notes.consume("g", (value) => void seen.push(value));
    await until(() => isSettled(notes));
    const targets: readonly (readonly [SeekTarget, readonly string[]])[] = [
      ["earliest", range(10)],
      [{ at: instants[6]! }, ["6", "7", "8", "9"]],
      [{ at: instants[6]! + 1 }, ["7", "8", "9"]],
      [{ positions: new Map([[0, receipts[8]!.position!]]) }, ["8", "9"]],
      [{ at: 0 }, range(10)],
      [{ positions: new Map([[0, 1n << 60n]]) }, []],
      [{ at: world.clock.now() + 1_000_000 }, []],
      ["now", []],
    ];
    for (const [to, expected] of targets) {
      seen.length = 0;
      await notes.seek("g", to);
      await until(() => isSettled(notes));
      assert.deepEqual(seen, expected);
    }
    await consumer.close();
  }));

test("a group that nobody consumes seeks too, and skips what it has not handled", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(range(10).map((value) => ({ value, key: "k" })));
    await notes.seek("g", "now");
    assert.equal((await notes.lag("g")).messages, 0);
    await notes.publish("new", { key: "k" });
    const seen: string[] = [];
    const consumer = await notes.consume("g", (value) => void seen.push(value));
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(seen, ["new"]);
  }));

test("one partition seeks while the positions of the others stay", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 3 });
    const receipts = [];
    for (const value of range(12)) receipts.push(await notes.publish(value, { partition: Number(value) % 3 }));
    const seen: string[] = [];
    const consumer = await notes.consume("g", (value) => void seen.push(value));
    await until(() => isSettled(notes));
    seen.length = 0;
    await notes.seek("g", { positions: new Map([[1, receipts[7]!.position!]]) });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(seen, ["7", "10"]);
  }));

test("other groups stay where they are", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", { ...options, groups: ["g", "other"] });
    await notes.publishMany(range(5).map((value) => ({ value })));
    await notes.seek("g", "now");
    assert.equal((await notes.lag("other")).messages, 5);
  }));

test("seeking forgets a failing message and what was counted against it", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("a", { key: "k" });
    await notes.publish("b", { key: "k" });
    const seen: [string, number][] = [];
    let failing = true;
    const consumer = await notes.consume(
      "g",
      (value, { attempt }) => {
        seen.push([value, attempt]);
        if (failing) throw new Error("not yet");
      },
      { retry: { delayMs: 1_000_000, delayMsMax: 1_000_000 } },
    );
    await until(async () => (await notes.lag("g")).held === 1);
    failing = false;
    await notes.seek("g", "earliest");
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(seen, [
      ["a", 1],
      ["a", 1],
      ["b", 1],
    ]);
  }));

test("what waits in the retry topic is handled whatever the seek", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("keyless");
    const seen: [string, number][] = [];
    const consumer = await notes.consume(
      "g",
      (value, { attempt }) => {
        seen.push([value, attempt]);
        if (attempt === 1) throw new Error("once");
      },
      { retry: { delayMs: 100_000_000, delayMsMax: 100_000_000 } },
    );
    await until(async () => (await notes.lag("g")).held === 1);
    await notes.seek("g", "now");
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(seen, [
      ["keyless", 1],
      ["keyless", 2],
    ]);
  }));

test("a place that is none is refused before anything moves, for seek and for from", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("a");
    const wrong: readonly unknown[] = [
      "latest",
      null,
      {},
      { at: Number.NaN },
      { at: "2026-01-01" },
      { positions: { 0: 1n } },
      { positions: new Map([[1, 0n]]) },
      { positions: new Map([[0, 1]]) },
      { positions: new Map([[0, -1n]]) },
    ];
    for (const to of wrong) {
      await assert.rejects(notes.seek("g", to as SeekTarget), { code: "invalid" });
      await assert.rejects(
        notes.consume("new", () => {}, { from: to as SeekTarget }),
        { code: "invalid" },
      );
    }
    assert.equal((await notes.lag("g")).messages, 1);
    await assert.rejects(notes.seek("nobody", "now"), { code: "not-found" });
  }));
