import assert from "node:assert/strict";
import { test } from "node:test";
import { onMemory } from "./fixtures.test.ts";
import { type Codec, type Topic, text, topic } from "./index.ts";

const options = { codec: text(), groups: ["g"], partitions: 1 };

async function isSettled(notes: Topic<string>): Promise<boolean> {
  return (await notes.lag("g")).messages === 0;
}

test("a group handles what passes its filter, and the rest is settled without being decoded", () =>
  onMemory(async ({ engine, until }) => {
    const decoded: string[] = [];
    const codec: Codec<string> = {
      ...text(),
      decode: (body) => {
        const value = text().decode(body);
        decoded.push(value);
        return value;
      },
    };
    const notes = topic(engine, "notes", { ...options, codec });
    await notes.publish("one", { tag: "paid", headers: { region: "eu" }, key: "k" });
    await notes.publish("two", { tag: "open", headers: { region: "eu" }, key: "k" });
    await notes.publish("three", { tag: "paid", headers: { region: "us" }, key: "k" });
    await notes.publish("four", { key: "k" });
    await notes.publish("five", { tag: "paid", headers: { region: "eu" }, key: "k" });
    const seen: [string, string | undefined][] = [];
    const consumer = await notes.consume("g", (value, { tag }) => void seen.push([value, tag]), {
      filter: { tags: ["paid"], headers: { region: "eu" } },
    });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(seen, [
      ["one", "paid"],
      ["five", "paid"],
    ]);
    assert.deepEqual(decoded, ["one", "five"]);
  }));

test("what is left out does not wait behind a failing message of its key, and holds nothing up", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("bad", { tag: "in", key: "k" });
    await notes.publishMany(Array.from({ length: 50 }, () => ({ value: "left out", key: "k" })));
    await notes.publish("last", { tag: "in", key: "other" });
    const seen: string[] = [];
    const consumer = await notes.consume(
      "g",
      (value) => {
        if (value === "bad") throw new Error("not yet");
        seen.push(value);
      },
      { filter: { tags: ["in"] }, prefetch: 10, retry: { delayMs: 50_000 } },
    );
    await until(() => seen.length === 1);
    await sleep(100);
    assert.equal((await notes.lag("g")).messages, 1);
    await consumer.close();
  }));

test("a backlog that is left out whole is worked off by batches of prefetch", () =>
  onMemory(async ({ engine, faults, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(Array.from({ length: 5_000 }, () => ({ value: "x", tag: "other" })));
    let commits = 0;
    faults.commit = (_, apply) => {
      commits += 1;
      return apply();
    };
    const consumer = await notes.consume("g", () => assert.fail("nothing passes"), {
      filter: { tags: ["mine"] },
      prefetch: 1_000,
    });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.ok(commits <= 10, `${commits} commits`);
  }));

test("what is left out is bounded by the prefetch until it is durably settled", () =>
  onMemory(async ({ engine, faults, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(Array.from({ length: 200 }, () => ({ value: "x" })));
    const gate = Promise.withResolvers<void>();
    faults.commit = (_, apply) => gate.promise.then(apply);
    let fetched = 0;
    faults.fetch = async (_, apply) => {
      const messages = await apply();
      fetched += messages.length;
      return messages;
    };
    const consumer = await notes.consume("g", () => {}, { filter: { tags: ["mine"] }, prefetch: 20 });
    await sleep(1_000);
    assert.equal(fetched, 20);
    gate.resolve();
    await until(() => isSettled(notes));
    await consumer.close();
  }));

test("a paused partition leaves nothing out either", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    const consumer = await notes.consume("g", () => {}, { filter: { tags: ["mine"] }, prefetch: 20 });
    await until(() => consumer.partitions.length === 1);
    consumer.pause();
    await notes.publishMany(Array.from({ length: 200 }, () => ({ value: "x" })));
    await sleep(1_000);
    assert.ok((await notes.lag("g")).messages >= 180);
    consumer.resume();
    await until(() => isSettled(notes));
    await consumer.close();
  }));

test("members of a group with different filters are refused; the same in another order is the same", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", options);
    const first = await notes.consume("g", () => {}, { filter: { tags: ["a", "b"] } });
    for (const filter of [{ tags: ["a"] }, undefined]) {
      await assert.rejects(
        notes.consume("g", () => {}, { filter }),
        { code: "conflict" },
      );
    }
    const second = await notes.consume("g", () => {}, { filter: { tags: ["b", "a"] } });
    const other = await notes.consume("other", () => {}, { filter: { tags: ["c"] } });
    await first.close();
    await second.close();
    const later = await notes.consume("g", () => {}, { filter: { tags: ["a"] } });
    await later.close();
    await other.close();
  }));

test("a filter that is none is refused before anybody joins", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", options);
    await assert.rejects(
      notes.consume("g", () => {}, { filter: {} }),
      { code: "invalid" },
    );
    assert.equal((await notes.describe()).groups[0]!.members, 0);
  }));

test("a redriven message is handled whatever the filter is now", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("one", { tag: "old", key: "h" });
    await notes.publish("two", { tag: "old", key: "d" });
    let calls = 0;
    const before = await notes.consume(
      "g",
      () => {
        calls += 1;
        throw new Error("not under this filter");
      },
      { filter: { tags: ["old"] }, retry: { attemptsMax: 0 } },
    );
    await until(async () => (await notes.deadLetters("g").count()) === 2);
    await before.close();
    assert.equal(calls, 2);
    assert.equal((await notes.deadLetters("g").peek())[0]!.tag, "old");
    await notes.publish("left out", { tag: "old", key: "x" });
    const seen: [string, string | undefined, number][] = [];
    const after = await notes.consume("g", (value, { tag, attempt }) => void seen.push([value, tag, attempt]), {
      filter: { tags: ["new"] },
    });
    await until(() => isSettled(notes));
    assert.deepEqual(seen, []);
    await notes.deadLetters("g").redrive();
    await until(() => seen.length === 2);
    await after.close();
    assert.deepEqual(seen.toSorted(), [
      ["one", "old", 1],
      ["two", "old", 1],
    ]);
  }));

test("a message that waits for its retry is handled again under another filter", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("keyed", { tag: "old", key: "k" });
    await notes.publish("keyless", { tag: "old" });
    let failures = 0;
    const before = await notes.consume(
      "g",
      () => {
        failures += 1;
        throw new Error("not now");
      },
      { filter: { tags: ["old"] }, retry: { delayMs: 100_000_000, delayMsMax: 100_000_000 } },
    );
    await until(() => failures === 2);
    await until(async () => (await notes.lag("g")).held === 2);
    await before.close();
    const seen: [string, string | undefined][] = [];
    const after = await notes.consume("g", (value, { tag }) => void seen.push([value, tag]), {
      filter: { tags: ["new"] },
    });
    await until(() => seen.length === 2);
    await sleep(1);
    await after.close();
    assert.deepEqual(seen.toSorted(), [
      ["keyed", "old"],
      ["keyless", "old"],
    ]);
  }));

test("a tag that cannot be stored is refused", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", options);
    for (const tag of ["", "x".repeat(256), "\ud800", 7 as never]) {
      await assert.rejects(notes.publish("a", { tag }), { code: "invalid", message: /tag/ });
    }
    await notes.publish("a", { tag: "x".repeat(255) });
    await assert.rejects(notes.publish("a", { headers: { "tenon-tag": "a" } }), { code: "invalid" });
  }));
