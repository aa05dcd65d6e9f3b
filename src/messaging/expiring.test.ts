import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bench, onDisk, onMemory } from "./fixtures.test.ts";
import { type Topic, text, topic } from "./index.ts";

const options = { codec: text(), groups: ["g"], partitions: 1 };

async function isSettled(notes: Topic<string>): Promise<boolean> {
  return (await notes.lag("g")).messages === 0;
}

async function reasons(notes: Topic<string>): Promise<(string | undefined)[][]> {
  return (await notes.deadLetters("g").peek()).map(({ value, reason }) => [value, reason]);
}

test("a message is delivered in the last millisecond before it expires, and not at that instant", () =>
  onMemory(async ({ engine, until, world }) => {
    const notes = topic(engine, "notes", options);
    const seen: string[] = [];
    const consumer = await notes.consume("g", (value) => void seen.push(value));
    for (const earlyMs of [1, 0]) {
      consumer.pause();
      const expiresAt = Math.ceil(world.clock.now()) + 1_000;
      await notes.publish(`${earlyMs} ms before`, { expiresAt });
      await world.timers.sleep(expiresAt - earlyMs - world.clock.now());
      assert.equal(world.clock.now(), expiresAt - earlyMs);
      // What was fetched is delivered at once.
      consumer.resume();
      await until(() => isSettled(notes));
    }
    await consumer.close();
    assert.deepEqual(seen, ["1 ms before"]);
    assert.deepEqual(await reasons(notes), [["0 ms before", "expired"]]);
  }));

test("a retry copy keeps its expiry, also behind an interceptor", () =>
  onMemory(async ({ engine, until, world }) => {
    const calls: number[] = [];
    const passing = { publish: (_message: unknown, next: () => Promise<never>) => next() };
    const notes = topic(engine, "notes", { ...options, interceptors: [passing] });
    const expiresAt = world.clock.now() + 200_000;
    const consumer = await notes.consume(
      "g",
      (_value, context) => {
        calls.push(world.clock.now());
        assert.equal(context.expiresAt, expiresAt);
        throw new Error("bad luck");
      },
      { retry: { delayMs: 600_000, delayMsMax: 600_000 } },
    );
    await notes.publish("m", { expiresAt });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.ok(calls.every((at) => at < expiresAt));
    assert.deepEqual(await reasons(notes), [["m", "expired"]]);
    const [letter] = await notes.deadLetters("g").peek();
    assert.equal(letter?.failures, calls.length);
  }));

test("a suspect message that expires while its delivery is recorded, or while it waits to go alone, is not delivered", async () => {
  const never = new Promise<void>(() => undefined);
  const work =
    (recordMs: number, expected: readonly string[]) =>
    async ({ engine, faults, until, world }: Bench): Promise<void> => {
      const notes = topic(engine, "notes", { ...options, whenExpired: "drop" });
      faults.commit = async (change, apply) => {
        if ((change.held ?? []).length > 0) await world.timers.sleep(recordMs);
        await apply();
      };
      const seen: string[] = [];
      const consumer = await notes.consume("g", (value) => void seen.push(value));
      await until(() => isSettled(notes));
      await consumer.close();
      assert.deepEqual(seen, expected);
    };
  const dying = async ({ engine, until }: Bench): Promise<void> => {
    const notes = topic(engine, "notes", options);
    let begun = false;
    await notes.publish("m", { ttlMs: 60_000 });
    await notes.publish("lives");
    await notes.consume("g", () => {
      begun = true;
      return never;
    });
    await until(() => begun);
  };
  await onDisk([dying, work(10, ["m", "lives"])]);
  await onDisk([dying, work(61_000, ["lives"])]);
  // Its fourth delivery would be made alone; nothing may wait for it any more.
  const dies = async (bench: Bench): Promise<void> => {
    let begun = false;
    await topic(bench.engine, "notes", options).consume("g", () => {
      begun = true;
      return never;
    });
    await bench.until(() => begun);
  };
  const later = async (bench: Bench): Promise<void> => {
    await bench.world.timers.sleep(61_000);
    await work(10, ["lives"])(bench);
  };
  await onDisk([dying, dies, dies, dies, later]);
});

test("a message that is to be delivered alone and expires before it can be holds nothing back", async () => {
  const never = new Promise<void>(() => undefined);
  const two = { ...options, partitions: 2 };
  const dies = async ({ engine, until }: Bench): Promise<void> => {
    const notes = topic(engine, "notes", two);
    let begun = false;
    if ((await notes.lag("g")).messages === 0) await notes.publish("m", { partition: 0, ttlMs: 60_000 });
    await notes.consume("g", () => {
      begun = true;
      return never;
    });
    await until(() => begun);
  };
  const outlives = async ({ engine, faults, until, world }: Bench): Promise<void> => {
    const notes = topic(engine, "notes", two);
    const seen: string[] = [];
    // It comes while another one runs, so that it has to wait for that one's end.
    faults.fetch = async (_limit, apply) => {
      const messages = await apply();
      if (messages.some(({ body }) => Buffer.from(body).toString() === "m")) await until(() => seen.length > 0);
      return messages;
    };
    const handler = async (value: string): Promise<void> => {
      seen.push(value);
      if (value === "slow") await world.timers.sleep(90_000);
    };
    const consumer = await notes.consume("g", handler, { handlerTimeoutMs: 120_000 });
    await notes.publish("slow", { partition: 1 });
    await until(() => isSettled(notes));
    await notes.publish("later", { partition: 1 });
    await until(() => seen.length === 2);
    await consumer.close();
    assert.deepEqual(seen, ["slow", "later"]);
    assert.deepEqual(await reasons(notes), [["m", "expired"]]);
  };
  await onDisk([dies, dies, dies, dies, outlives]);
});

test("in a batch, what expired while the batch was gathered is left out, and its key goes on", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", { ...options, whenExpired: "drop" });
    const batches: string[][] = [];
    const consumer = await notes.consumeBatch(
      "g",
      (messages) => {
        batches.push(messages.map(({ value }) => value));
      },
      { batchCountMax: 100, batchWaitMs: 1_000 },
    );
    await notes.publish("a0", { key: "a", ttlMs: 100 });
    await notes.publish("a1", { key: "a" });
    await until(() => isSettled(notes));
    await notes.publish("b0", { key: "b" });
    await notes.publish("b1", { key: "b", ttlMs: 100 });
    await notes.publish("b2", { key: "b" });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(batches.flat(), ["a1", "b0", "b2"]);
  }));
