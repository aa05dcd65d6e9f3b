import assert from "node:assert/strict";
import { test } from "node:test";
import { type Bench, onDisk, onMemory } from "./fixtures.test.ts";
import { type BatchMessage, DeadLetter, json, type Topic, text, topic, type Verdict, verdict } from "./index.ts";

const options = { codec: text(), groups: ["g"], partitions: 1 };

function range(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

function valuesOf(messages: readonly BatchMessage<string>[]): string[] {
  return messages.map(({ value }) => value);
}

async function isSettled(notes: Topic<string>): Promise<boolean> {
  return (await notes.lag("g")).messages === 0;
}

test("a batch holds at most batchCountMax messages, several of one key in their order, and settles with its handler", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(range(100).map((value) => ({ value, key: `k${Number(value) % 3}` })));
    const batches: string[][] = [];
    const consumer = await notes.consumeBatch("g", async (messages) => void batches.push(valuesOf(messages)), {
      batchCountMax: 8,
      concurrency: 1,
    });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.equal(Math.max(...batches.map((batch) => batch.length)), 8);
    const all = batches.flat();
    assert.equal(all.length, 100);
    for (const key of [0, 1, 2]) {
      const own = all.map(Number).filter((value) => value % 3 === key);
      assert.deepEqual(
        own,
        own.toSorted((one, other) => one - other),
      );
    }
  }));

test("without batchCountMax every message is a batch of its own", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(range(20).map((value) => ({ value, key: "k" })));
    const batches: string[][] = [];
    const consumer = await notes.consumeBatch("g", (messages) => void batches.push(valuesOf(messages)));
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(
      batches,
      range(20).map((value) => [value]),
    );
  }));

test("each message of a batch tells what a single one would, and fences grow within the batch", () =>
  onMemory(async ({ engine, until, world }) => {
    const notes = topic(engine, "notes", options);
    const at = world.clock.now();
    await notes.publishMany([
      { value: "a", key: "k", headers: { h: "1" }, tag: "paid", id: "i" },
      { value: "b", key: "k" },
    ]);
    let seen: readonly BatchMessage<string>[] = [];
    const consumer = await notes.consumeBatch(
      "g",
      (messages, context) => {
        assert.deepEqual([context.topic, context.group, context.signal.aborted], ["notes", "g", false]);
        seen = messages.map(({ value, key, headers, tag, id, partition, position, publishedAt, attempt, fence }) => {
          return { value, key, headers, tag, id, partition, position, publishedAt, attempt, fence } as never;
        });
      },
      { batchCountMax: 10 },
    );
    await until(() => seen.length === 2);
    await consumer.close();
    const [first, second] = seen;
    assert.deepEqual(
      [first!.value, first!.key, first!.headers, first!.tag, first!.id],
      ["a", "k", { h: "1" }, "paid", "i"],
    );
    assert.deepEqual([first!.partition, first!.attempt, first!.publishedAt], [0, 1, at]);
    assert.deepEqual([second!.value, second!.headers, second!.tag, second!.id], ["b", {}, undefined, undefined]);
    assert.ok(second!.position > first!.position);
    assert.ok(second!.fence > first!.fence);
  }));

test("a verdict decides for its message alone", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(["good", "again", "bad"].map((value) => ({ value, key: value })));
    const seen: [string, number][] = [];
    const consumer = await notes.consumeBatch(
      "g",
      async (messages) => {
        for (const { value, attempt } of messages) seen.push([value, attempt]);
        return messages.map(({ value, attempt }): Verdict => {
          if (value === "again" && attempt === 1) return verdict.retry("not now");
          return value === "bad" ? verdict.deadLetter("beyond help") : verdict.settle;
        });
      },
      { batchCountMax: 10, retry: { delayMs: 100 } },
    );
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(seen, [
      ["good", 1],
      ["again", 1],
      ["bad", 1],
      ["again", 2],
    ]);
    const letters = await notes.deadLetters("g").peek();
    assert.deepEqual(
      letters.map(({ value, reason }) => [value, reason]),
      [["bad", "beyond help"]],
    );
  }));

test("what fails holds back the later ones of its key: what was decided for them does not count", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(["a1", "a2", "a3", "b1", "b2"].map((value) => ({ value, key: value[0]! })));
    const batches: [string, number][][] = [];
    let failed = false;
    const consumer = await notes.consumeBatch(
      "g",
      async (messages) => {
        batches.push(messages.map(({ value, attempt }) => [value, attempt]));
        return messages.map(({ value }): Verdict => {
          if (value !== "a2" || failed) return verdict.settle;
          failed = true;
          return verdict.retry("once");
        });
      },
      { batchCountMax: 10, retry: { delayMs: 1_000 } },
    );
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(batches, [
      [
        ["a1", 1],
        ["a2", 1],
        ["a3", 1],
        ["b1", 1],
        ["b2", 1],
      ],
      [["a2", 2]],
      [["a3", 1]],
    ]);
  }));

test("after a dead letter in a batch the later ones of its key count, once it is durable", () =>
  onMemory(async ({ engine, faults, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(["a1", "a2", "a3"].map((value) => ({ value, key: "a" })));
    const gate = Promise.withResolvers<void>();
    const commits: number[] = [];
    faults.commit = async (change, apply) => {
      if (change.appends !== undefined) await gate.promise;
      commits.push(change.settled.length);
      await apply();
    };
    const seen: string[] = [];
    const consumer = await notes.consumeBatch(
      "g",
      async (messages) => {
        seen.push(...valuesOf(messages));
        return [verdict.deadLetter("bad"), verdict.settle, verdict.settle];
      },
      { batchCountMax: 3 },
    );
    await until(() => seen.length === 3);
    await sleep(1_000);
    assert.deepEqual(commits, []);
    assert.equal((await notes.lag("g")).messages, 3);
    gate.resolve();
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(commits, [1, 2]);
    assert.deepEqual(seen, ["a1", "a2", "a3"]);
    assert.equal(await notes.deadLetters("g").count(), 1);
  }));

test("closing settles what stands behind a dead letter of its batch", () =>
  onMemory(async ({ engine, faults, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(["a1", "a2", "a3"].map((value) => ({ value, key: "a" })));
    faults.commit = async (_, apply) => {
      await sleep(100);
      await apply();
    };
    let calls = 0;
    const handler = (): Verdict[] => {
      calls += 1;
      return [verdict.deadLetter("bad"), verdict.settle, verdict.settle];
    };
    const consumer = await notes.consumeBatch("g", handler, { batchCountMax: 3 });
    await until(() => calls === 1);
    await consumer.close();
    assert.equal((await notes.lag("g")).messages, 0);
  }));

test("a throw fails every message; those that failed come alone, so that one cannot make the others fail for ever", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(range(10).map((value) => ({ value: value === "5" ? "poison" : value, key: value })));
    const sizes: number[] = [];
    const handled: string[] = [];
    const consumer = await notes.consumeBatch(
      "g",
      async (messages) => {
        sizes.push(messages.length);
        if (messages.some(({ value }) => value === "poison")) throw new Error("cannot digest");
        handled.push(...valuesOf(messages));
      },
      { batchCountMax: 10, retry: { attemptsMax: 2, delayMs: 10 } },
    );
    await until(() => isSettled(notes));
    await consumer.close();
    assert.equal(sizes[0], 10);
    assert.ok(sizes.slice(1).every((size) => size === 1));
    assert.deepEqual(
      handled.toSorted(),
      range(10).filter((value) => value !== "5"),
    );
    const letters = await notes.deadLetters("g").peek();
    assert.deepEqual(
      letters.map(({ value, failures }) => [value, failures]),
      [["poison", 3]],
    );
  }));

test("DeadLetter thrown by a batch handler makes dead letters of the first of each key, then of the next", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(["a1", "a2", "b1"].map((value) => ({ value, key: value[0]! })));
    let calls = 0;
    const handler = (): never => {
      calls += 1;
      throw new DeadLetter("all of it");
    };
    const consumer = await notes.consumeBatch("g", handler, { batchCountMax: 3 });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.equal(calls, 1);
    const letters = await notes.deadLetters("g").peek();
    assert.deepEqual(letters.map(({ value }) => value).toSorted(), ["a1", "a2", "b1"]);
  }));

test("an answer that does not fit the messages fails them, and says so in the log", () =>
  onMemory(async ({ engine, until, log }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(range(3).map((value) => ({ value })));
    const answers: unknown[] = [[verdict.settle], "fine", [verdict.settle, {}, undefined]];
    const consumer = await notes.consumeBatch(
      "g",
      ((messages: readonly BatchMessage<string>[]) =>
        messages.length === 3 ? answers[0] : [{ outcome: "?" }]) as never,
      { batchCountMax: 3, retry: { attemptsMax: 1, delayMs: 1 } },
    );
    await until(async () => (await notes.deadLetters("g").count()) === 3);
    await consumer.close();
    assert.ok(log.some((line) => line.includes("a handler failed")));
    const letters = await notes.deadLetters("g").peek();
    assert.ok(letters.every(({ reason, failures }) => failures === 2 && reason.includes("no verdict")));
  }));

test("what cannot be decoded becomes a dead letter before the handler is called, wherever it stands in its key", () =>
  onMemory(async ({ engine, until }) => {
    const raw = topic(engine, "notes", options);
    await raw.publishMany(
      ['"a1"', "{", '"a3"', "[", '"b1"'].map((value, index) => ({ value, key: index < 3 ? "a" : "b" })),
    );
    const notes = topic(engine, "notes", { ...options, codec: json<string>() });
    const seen: string[] = [];
    const consumer = await notes.consumeBatch("g", (messages) => void seen.push(...valuesOf(messages)), {
      batchCountMax: 10,
    });
    await until(() => isSettled(raw));
    await consumer.close();
    assert.deepEqual(seen.toSorted(), ["a1", "a3", "b1"]);
    assert.ok(seen.indexOf("a1") < seen.indexOf("a3"));
    assert.equal(await notes.deadLetters("g").count(), 2);
  }));

test("batchWaitMs: a batch leaves when it is full, or when its first message has waited so long", () =>
  onMemory(async ({ engine, until, world, sleep }) => {
    const notes = topic(engine, "notes", options);
    const batches: { readonly at: number; readonly values: string[] }[] = [];
    const start = world.clock.monotonic();
    const consumer = await notes.consumeBatch(
      "g",
      (messages) => void batches.push({ at: world.clock.monotonic() - start, values: valuesOf(messages) }),
      { batchCountMax: 4, batchWaitMs: 1_000 },
    );
    for (const value of range(3)) {
      await notes.publish(value, { key: "same" });
      await sleep(100);
    }
    assert.equal(batches.length, 0);
    await until(() => batches.length === 1);
    assert.deepEqual(batches[0]!.values, range(3));
    assert.ok(batches[0]!.at >= 1_000 && batches[0]!.at < 1_100, `it left after ${batches[0]!.at} ms`);
    const second = world.clock.monotonic() - start;
    for (const value of range(4)) await notes.publish(value, { key: "same" });
    await until(() => batches.length === 2);
    assert.deepEqual(batches[1]!.values, range(4));
    assert.ok(batches[1]!.at < second + 500, "a full batch does not wait");
    await consumer.close();
  }));

test("concurrency counts batches, and no key is in two at a time", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 4 });
    await notes.publishMany(range(400).map((value) => ({ value, key: `k${Number(value) % 50}` })));
    const running = new Set<string>();
    let peak = 0;
    let now = 0;
    const consumer = await notes.consumeBatch(
      "g",
      async (messages) => {
        const keys = new Set(messages.map(({ key }) => key!));
        for (const key of keys) assert.ok(!running.has(key));
        for (const key of keys) running.add(key);
        now += 1;
        peak = Math.max(peak, now);
        await sleep(10);
        now -= 1;
        for (const key of keys) running.delete(key);
      },
      { batchCountMax: 7, concurrency: 3 },
    );
    await until(() => isSettled(notes));
    await consumer.close();
    assert.equal(peak, 3);
  }));

test("a batch handler past its timeout gets its signals aborted, and its keys go on when it is given up", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(["a1", "a2", "b1"].map((value) => ({ value, key: value[0]! })));
    const late = Promise.withResolvers<void>();
    const fences = new Map<string, bigint>();
    let aborted = 0;
    const again: [string, number][] = [];
    const consumer = await notes.consumeBatch(
      "g",
      async (messages, { signal }) => {
        if (fences.size > 0) {
          for (const { value, attempt, fence } of messages) {
            again.push([value, attempt]);
            assert.ok(fence > fences.get(value)!);
          }
          return undefined;
        }
        for (const { value, fence } of messages) fences.set(value, fence);
        const signals = [signal, ...messages.map((message) => message.signal)];
        for (const each of signals) each.addEventListener("abort", () => (aborted += 1));
        await late.promise;
        return messages.map(() => verdict.deadLetter("too late to count"));
      },
      { batchCountMax: 3, handlerTimeoutMs: 1_000, abandonAfterMs: 2_000, retry: { delayMs: 10 } },
    );
    await until(() => aborted === 4);
    assert.deepEqual(again, []);
    await until(() => isSettled(notes));
    late.resolve();
    await sleep(100);
    await consumer.close();
    assert.equal(await notes.deadLetters("g").count(), 0);
    assert.deepEqual(again.toSorted(), [
      ["a1", 2],
      ["a2", 1],
      ["b1", 2],
    ]);
  }));

test("closing lets a running batch end, settles it, and delivers nothing more", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(range(30).map((value) => ({ value, key: value })));
    let batches = 0;
    const consumer = await notes.consumeBatch(
      "g",
      async () => {
        batches += 1;
        await sleep(100);
      },
      { batchCountMax: 10, concurrency: 1 },
    );
    await until(() => batches === 1);
    await consumer.close();
    assert.equal(batches, 1);
    assert.equal((await notes.lag("g")).messages, 20);
  }));

test("when one partition passes on, the batch goes on for the others", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 2 });
    await notes.publishMany([0, 1].map((partition) => ({ value: String(partition), partition })));
    const gate = Promise.withResolvers<void>();
    let batch: readonly BatchMessage<string>[] = [];
    let whole: AbortSignal | undefined;
    const first = await notes.consumeBatch(
      "g",
      async (messages, { signal }) => {
        batch = messages;
        whole = signal;
        for (const message of messages) message.signal.addEventListener("abort", () => {});
        await gate.promise;
      },
      { batchCountMax: 2, batchWaitMs: 1_000, drainTimeoutMs: 500 },
    );
    await until(() => batch.length === 2);
    const again: string[] = [];
    const second = await notes.consumeBatch("g", (messages) => void again.push(...valuesOf(messages)));
    await until(() => again.length === 1);
    const moved = batch.find(({ value }) => value === again[0])!;
    const kept = batch.find(({ value }) => value !== again[0])!;
    assert.deepEqual([moved.signal.aborted, kept.signal.aborted, whole!.aborted], [true, false, false]);
    gate.resolve();
    await until(() => isSettled(notes));
    await sleep(100);
    assert.equal(again.length, 1);
    await first.close();
    await second.close();
  }));

test("what a process may have died with comes alone, its deliveries recorded before", () =>
  onDisk([
    async ({ engine, until }) => {
      const notes = topic(engine, "notes", options);
      await notes.publishMany(range(6).map((value) => ({ value, key: value })));
      let began = false;
      const handler = (): Promise<void> => {
        began = true;
        return new Promise(() => {});
      };
      await notes.consumeBatch("g", handler, { batchCountMax: 3, concurrency: 1 });
      await until(() => began);
    },
    async (bench: Bench) => {
      const notes = topic(bench.engine, "notes", options);
      const sizes: number[] = [];
      const seen: string[] = [];
      const consumer = await notes.consumeBatch(
        "g",
        (messages) => {
          sizes.push(messages.length);
          seen.push(...valuesOf(messages));
        },
        { batchCountMax: 3 },
      );
      await bench.until(() => isSettled(notes));
      await consumer.close();
      assert.deepEqual(seen.toSorted(), range(6));
      assert.deepEqual(sizes, [1, 1, 1, 1, 1, 1]);
    },
  ]));

test("options of batches that make no sense are refused", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", options);
    for (const wrong of [
      { batchCountMax: 0 },
      { batchCountMax: 1.5 },
      { batchWaitMs: -1 },
      { batchWaitMs: Number.NaN },
    ]) {
      await assert.rejects(
        notes.consumeBatch("g", () => {}, wrong),
        { code: "invalid" },
      );
    }
    await assert.rejects(notes.consumeBatch("g", undefined as never), { code: "invalid" });
  }));
