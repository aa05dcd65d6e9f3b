import assert from "node:assert/strict";
import { test } from "node:test";
import { onDisk, onMemory } from "./fixtures.test.ts";
import { type Topic, text, topic, verdict } from "./index.ts";

const options = { codec: text(), groups: ["g"], partitions: 4 };

function range(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

async function isSettled(notes: Topic<string>): Promise<boolean> {
  return (await notes.lag("g")).messages === 0;
}

test("a paused consumer starts no handler, lets running ones end, and resumes exactly where it was", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(range(200).map((value) => ({ value, key: `k${Number(value) % 10}` })));
    const begun: string[] = [];
    let ended = 0;
    const consumer = await notes.consume(
      "g",
      async (value) => {
        begun.push(value);
        await sleep(10);
        ended += 1;
      },
      { concurrency: 4 },
    );
    await until(() => begun.length >= 20);
    const before = begun.length;
    consumer.pause();
    assert.deepEqual(consumer.paused, [0, 1, 2, 3]);
    await sleep(120_000);
    assert.equal(begun.length, before);
    assert.equal(ended, before, "what ran has ended");
    assert.equal((await notes.lag("g")).messages, 200 - before, "and is settled");
    assert.deepEqual(consumer.partitions, [0, 1, 2, 3], "the lanes outlive many sessions");
    consumer.resume();
    assert.deepEqual(consumer.paused, []);
    await until(() => isSettled(notes));
    await consumer.close();
    assert.equal(new Set(begun).size, 200);
    assert.equal(begun.length, 200);
    for (const key of range(10)) {
      const own = begun.map(Number).filter((value) => value % 10 === Number(key));
      assert.deepEqual(
        own,
        own.toSorted((one, other) => one - other),
      );
    }
  }));

test("one partition is paused while the others go on", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    const seen: number[] = [];
    const consumer = await notes.consume("g", (_, { partition }) => void seen.push(partition));
    consumer.pause([1, 2]);
    for (const partition of [0, 1, 2, 3]) await notes.publish("a", { partition });
    await sleep(1_000);
    assert.deepEqual(seen.toSorted(), [0, 3]);
    consumer.resume([2]);
    assert.deepEqual(consumer.paused, [1]);
    await until(() => seen.length === 3);
    assert.deepEqual(seen.toSorted(), [0, 2, 3]);
    consumer.resume();
    await until(() => isSettled(notes));
    await consumer.close();
    for (const wrong of [[4], [-1], [0.5]]) assert.throws(() => consumer.pause(wrong), { code: "invalid" });
  }));

test("what is fetched while paused is bounded by the prefetch", () =>
  onMemory(async ({ engine, faults, until, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    let fetched = 0;
    faults.fetch = async (_limit, apply) => {
      const messages = await apply();
      fetched += messages.length;
      return messages;
    };
    let seen = 0;
    const consumer = await notes.consume(
      "g",
      () => {
        seen += 1;
      },
      { prefetch: 10 },
    );
    await sleep(10);
    consumer.pause();
    await notes.publishMany(range(500).map((value) => ({ value })));
    await sleep(10_000);
    assert.ok(fetched <= 10, `${fetched} were fetched`);
    assert.equal(seen, 0);
    consumer.resume();
    await until(() => isSettled(notes));
    assert.equal(seen, 500);
    await consumer.close();
  }));

test("a retry that becomes due while paused waits for the resumption", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("a", { key: "k" });
    const attempts: number[] = [];
    const consumer = await notes.consume(
      "g",
      (_, { attempt }) => {
        attempts.push(attempt);
        if (attempt === 1) throw new Error("once");
      },
      { retry: { delayMs: 1_000 } },
    );
    await until(() => attempts.length === 1);
    consumer.pause();
    await sleep(100_000);
    assert.deepEqual(attempts, [1]);
    consumer.resume();
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(attempts, [1, 2]);
  }));

test("seeking while paused moves the position, and the resumption begins there", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    const receipts = await notes.publishMany(range(20).map((value) => ({ value, key: value })));
    const seen: string[] = [];
    const consumer = await notes.consume("g", (value) => void seen.push(value));
    await until(() => isSettled(notes));
    seen.length = 0;
    consumer.pause();
    await notes.seek("g", { positions: new Map([[0, receipts[15]!.position!]]) });
    await sleep(5_000);
    assert.deepEqual(seen, []);
    assert.equal((await notes.lag("g")).messages, 5);
    assert.deepEqual(consumer.partitions, [0]);
    consumer.resume();
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(seen, range(20).slice(15));
  }));

test("a partition that comes to a paused consumer is paused too, and the group's others take over what it gives back", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    const seen: string[] = [];
    const first = await notes.consume("g", (value) => void seen.push(`first ${value}`));
    const second = await notes.consume("g", (value) => void seen.push(`second ${value}`));
    await until(() => first.partitions.length === 2 && second.partitions.length === 2);
    second.pause();
    await first.close();
    await until(() => second.partitions.length === 4);
    for (const partition of [0, 1, 2, 3]) await notes.publish(String(partition), { partition });
    await sleep(1_000);
    assert.equal(seen.length, 0);
    const third = await notes.consume("g", (value) => void seen.push(`third ${value}`));
    await second.close();
    await until(() => isSettled(notes));
    await third.close();
    assert.deepEqual(seen.toSorted(), ["third 0", "third 1", "third 2", "third 3"]);
  }));

test("a batch that gathers while its partition is paused leaves without what is paused", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 2 });
    const batches: string[][] = [];
    const consumer = await notes.consumeBatch(
      "g",
      (messages) => {
        batches.push(messages.map(({ value }) => value));
        return messages.map(() => verdict.settle);
      },
      { batchCountMax: 10, batchWaitMs: 1_000 },
    );
    await notes.publish("a", { partition: 0 });
    await notes.publish("b", { partition: 1 });
    await sleep(100);
    consumer.pause([0]);
    await until(() => batches.length === 1);
    await sleep(5_000);
    assert.deepEqual(batches, [["b"]]);
    consumer.resume();
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(batches, [["b"], ["a"]]);
  }));

test("deliveries that were recorded but not made before the pause are made after it, with their records taken back meanwhile", () =>
  onDisk([
    async ({ engine, until }) => {
      const notes = topic(engine, "notes", { ...options, partitions: 1 });
      await notes.publishMany(range(5).map((value) => ({ value, key: value })));
      let began = 0;
      await notes.consume("g", () => {
        began += 1;
        return new Promise(() => {});
      });
      await until(() => began === 5);
    },
    async ({ engine, faults, until, sleep }) => {
      const notes = topic(engine, "notes", { ...options, partitions: 1 });
      const gate = Promise.withResolvers<void>();
      const deliveries: number[][] = [];
      faults.commit = async (change, apply) => {
        deliveries.push((change.held ?? []).map((held) => held.deliveries));
        if (deliveries.length === 1) await gate.promise;
        await apply();
      };
      const seen: string[] = [];
      const consumer = await notes.consume("g", (value) => void seen.push(value));
      await until(() => deliveries.length === 1);
      consumer.pause();
      gate.resolve();
      await sleep(1_000);
      assert.deepEqual(seen, []);
      assert.deepEqual(deliveries, [
        [1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0],
      ]);
      consumer.resume();
      await until(() => isSettled(notes));
      await consumer.close();
      assert.deepEqual(seen.toSorted(), range(5));
    },
  ]));
