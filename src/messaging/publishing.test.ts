import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import type { Batch } from "../contracts/messages.ts";
import { type Bench, onDisk, onMemory } from "./fixtures.test.ts";
import { bytes, json, text, topic } from "./index.ts";

const unknown = () => new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });
const unavailable = () => new TenonError("unavailable", "cannot be reached");

/** Everything stored in a topic, by partition, as text. */
async function stored({ engine, until }: Bench, name: string, count: number): Promise<string[][]> {
  const { messages } = engine;
  const { partitions } = await messages.describe(name);
  const found: string[][] = partitions.map(() => []);
  let seen = 0;
  const reader = topic(engine, name, { codec: text(), partitions: partitions.length });
  const consumer = await reader.consume(
    `reader-${engine.world.random.uuid()}`,
    (value, { partition }) => {
      found[partition]!.push(value);
      seen += 1;
    },
    { from: "earliest", concurrency: 1 },
  );
  await until(() => seen >= count);
  await consumer.close();
  assert.equal(seen, count);
  return found;
}

function recordBatches({ faults }: Bench): Batch[] {
  const batches: Batch[] = [];
  faults.append = (batch, apply) => {
    batches.push(batch);
    return apply();
  };
  return batches;
}

const texts = (batch: Batch): string[] => batch.messages.map(({ body }) => Buffer.from(body).toString());

test("a receipt says where the message is; equal keys share a partition and keep their order", () =>
  onMemory(async (bench) => {
    const notes = topic(bench.engine, "notes", { codec: text() });
    const receipts = await Promise.all(["a", "b", "c"].map((value) => notes.publish(value, { key: "k" })));
    assert.equal(new Set(receipts.map((receipt) => receipt.partition)).size, 1);
    const positions = receipts.map((receipt) => receipt.position!);
    assert.ok(positions[0]! < positions[1]! && positions[1]! < positions[2]!);
    const all = await stored(bench, "notes", 3);
    assert.deepEqual(all[receipts[0]!.partition], ["a", "b", "c"]);
  }));

test("what is published within a tick shares a batch per partition, and what comes meanwhile forms the next one", () =>
  onMemory(async (bench) => {
    const batches = recordBatches(bench);
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1 });
    await notes.declare();
    const first = [notes.publish("a"), notes.publish("b", { key: "k" })];
    const gate = Promise.withResolvers<void>();
    const record = bench.faults.append!;
    bench.faults.append = async (batch, apply) => {
      await gate.promise;
      return await record(batch, apply);
    };
    await bench.sleep(1);
    const second = ["c", "d", "e"].map((value) => notes.publish(value));
    await bench.sleep(1);
    assert.equal(batches.length, 0);
    gate.resolve();
    await Promise.all([...first, ...second]);
    assert.deepEqual(batches.map(texts), [
      ["a", "b"],
      ["c", "d", "e"],
    ]);
    assert.deepEqual(
      batches.map(({ producer }) => producer?.sequence),
      [0, 2],
    );
  }));

test("messages without a key stick to one partition per batch and then go on to the next", () =>
  onMemory(async (bench) => {
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 3 });
    const partitions: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      const receipts = await Promise.all([notes.publish("a"), notes.publish("b")]);
      assert.equal(receipts[0]!.partition, receipts[1]!.partition);
      partitions.push(receipts[0]!.partition);
    }
    assert.deepEqual([...partitions.slice(0, 3)].sort(), [0, 1, 2]);
    assert.deepEqual(partitions.slice(3), partitions.slice(0, 3));
  }));

test("a batch is cut at batchCountMax and at batchBytesMax, and one message that is larger goes alone", () =>
  onMemory(async (bench) => {
    const batches = recordBatches(bench);
    const notes = topic(bench.engine, "notes", {
      codec: bytes(),
      partitions: 1,
      batchCountMax: 3,
      batchBytesMax: 2_000,
    });
    const sizes = [10, 10, 10, 10, 5_000, 900, 900, 10];
    await Promise.all(sizes.map((size) => notes.publish(new Uint8Array(size))));
    assert.deepEqual(
      batches.map(({ messages }) => messages.map(({ body }) => body.length)),
      [[10, 10, 10], [10], [5_000], [900], [900, 10]].map((batch) => batch),
    );
  }));

test("a batch with an unknown outcome is repeated unchanged and stored once, in order", () =>
  onMemory(async (bench) => {
    const attempts: Batch[] = [];
    bench.faults.append = async (batch, apply) => {
      attempts.push(batch);
      const positions = await apply();
      if (attempts.length <= 2) throw unknown();
      return positions;
    };
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1 });
    const first = notes.publish("a");
    await bench.until(() => attempts.length === 1);
    const second = notes.publish("b");
    const receipts = await Promise.all([first, second]);
    assert.equal(attempts[0], attempts[1]);
    assert.equal(attempts[0], attempts[2]);
    assert.deepEqual(
      receipts.map(({ position }) => position),
      [0n, 1n],
    );
    assert.deepEqual(await stored(bench, "notes", 2), [["a", "b"]]);
  }));

test("a publish that times out says whether it may have been stored", () =>
  onMemory(async (bench) => {
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1, publishTimeoutMs: 300 });
    bench.faults.append = () => Promise.reject(unavailable());
    const started = bench.world.clock.monotonic();
    await assert.rejects(notes.publish("a"), { code: "timeout", outcome: "not-applied" });
    const took = bench.world.clock.monotonic() - started;
    assert.ok(took >= 300 && took < 400, String(took));
    bench.faults.append = () => Promise.reject(unknown());
    await assert.rejects(notes.publish("b"), { code: "timeout", outcome: "unknown" });
    // An engine that never answers.
    const silent = Promise.withResolvers<never>();
    bench.faults.append = () => silent.promise;
    await assert.rejects(notes.publish("c"), { code: "timeout", outcome: "unknown" });
    await assert.rejects(notes.publish("d"), { code: "timeout", outcome: "not-applied" });
    bench.faults.append = undefined;
    silent.reject(unavailable());
    await notes.publish("e");
    assert.deepEqual(await stored(bench, "notes", 1), [["e"]]);
  }));

test("who times out while the batch goes on for others is told that the message may be stored", () =>
  onMemory(async (bench) => {
    const { engine, faults, until } = bench;
    const notes = topic(engine, "notes", { codec: text(), partitions: 1 });
    await notes.publish("before");
    let attempts = 0;
    let reached = false;
    faults.append = async (_, apply) => {
      attempts += 1;
      if (reached) return await apply();
      throw unavailable();
    };
    const hasty = notes.publish("hasty", { timeoutMs: 200 });
    const patient = notes.publish("patient", { timeoutMs: 10_000 });
    await assert.rejects(hasty, { code: "timeout", outcome: "unknown" });
    assert.ok(attempts > 0);
    reached = true;
    await patient;
    assert.deepEqual(await stored(bench, "notes", 3), [["before", "hasty", "patient"]]);
    // When nobody waits any more, it is not sent again.
    reached = false;
    const alone = [notes.publish("alone", { timeoutMs: 200 }), notes.publish("as well", { timeoutMs: 200 })];
    for (const each of alone) await assert.rejects(each, { code: "timeout", outcome: "not-applied" });
    const soFar = attempts;
    reached = true;
    await until(() => engine.world.clock.monotonic() > 20_000);
    assert.equal(attempts, soFar);
  }));

test("a batch that was given up cannot be stored behind a later one", () =>
  onMemory(async (bench) => {
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1, publishTimeoutMs: 200 });
    await notes.publish("a");
    let stuck: (() => Promise<unknown>) | undefined;
    bench.faults.append = (_, apply) => {
      stuck ??= apply;
      return Promise.reject(unknown());
    };
    await assert.rejects(notes.publish("b"), { code: "timeout", outcome: "unknown" });
    await bench.sleep(5_000);
    bench.faults.append = undefined;
    await notes.publish("c");
    await assert.rejects(stuck!(), { code: "lost" });
    await notes.publish("d");
    assert.deepEqual(await stored(bench, "notes", 3), [["a", "c", "d"]]);
  }));

test("with a producer of the user's own a batch that was given up is repeated until its fate is known", () =>
  onMemory(async (bench) => {
    const producer = { id: "shop-1", epoch: 4 };
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1, publishTimeoutMs: 200, producer });
    const marks: unknown[] = [];
    bench.faults.append = (batch) => {
      marks.push(batch.producer);
      return Promise.reject(unknown());
    };
    await assert.rejects(notes.publish("a"), { code: "timeout", outcome: "unknown" });
    await bench.sleep(1_000);
    bench.faults.append = (batch, apply) => {
      marks.push(batch.producer);
      return apply();
    };
    await notes.publish("b", { timeoutMs: 60_000 });
    assert.deepEqual(await stored(bench, "notes", 2), [["a", "b"]]);
    assert.deepEqual(marks[0], { id: "shop-1", epoch: 4, sequence: 0 });
    assert.deepEqual(marks.at(-1), { id: "shop-1", epoch: 4, sequence: 1 });
  }));

test("a higher epoch of the same producer fences the lower one", () =>
  onMemory(async (bench) => {
    const options = { codec: text(), partitions: 1 };
    const former = topic(bench.engine, "notes", { ...options, producer: { id: "shop-1", epoch: 1 } });
    const present = topic(bench.engine, "notes", { ...options, producer: { id: "shop-1", epoch: 2 } });
    await former.publish("a");
    await present.publish("b");
    await assert.rejects(former.publish("c"), { code: "lost", outcome: "not-applied" });
    await present.publish("d");
    assert.deepEqual(await stored(bench, "notes", 3), [["a", "b", "d"]]);
  }));

test("a refusal rejects at once, and what follows is stored", () =>
  onMemory(async (bench) => {
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1 });
    bench.faults.append = () => Promise.reject(new TenonError("overloaded", "the disk is full"));
    const started = bench.world.clock.monotonic();
    await assert.rejects(notes.publish("a"), { code: "overloaded", outcome: "not-applied" });
    assert.ok(bench.world.clock.monotonic() - started < 100);
    bench.faults.append = undefined;
    await notes.publish("b");
    assert.deepEqual(await stored(bench, "notes", 1), [["b"]]);
  }));

test("beyond bufferBytesMax publishing waits for room, in order", () =>
  onMemory(async (bench) => {
    const gate = Promise.withResolvers<void>();
    let accepted = 0;
    bench.faults.append = async (batch, apply) => {
      accepted += batch.messages.length;
      await gate.promise;
      return await apply();
    };
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1, bufferBytesMax: 2_000 });
    await notes.declare();
    const values = Array.from({ length: 40 }, (_, index) => String(index));
    const sent = values.map((value) => notes.publish(value));
    await bench.sleep(1);
    assert.ok(accepted > 5 && accepted < 20, String(accepted));
    gate.resolve();
    await Promise.all(sent);
    assert.deepEqual(await stored(bench, "notes", 40), [values]);
  }));

test("the room of what was cut, refused, timed out or aborted is free again, and no more than that", () =>
  onMemory(async (bench) => {
    const notes = topic(bench.engine, "notes", {
      codec: text(),
      partitions: 1,
      bufferBytesMax: 2_000,
      batchCountMax: 3,
    });
    const few = Array.from({ length: 10 }, (_, index) => String(index));
    await Promise.all(few.map((value) => notes.publish(value)));
    bench.faults.append = () => Promise.reject(unavailable());
    for (let round = 0; round < 5; round += 1) {
      const late = await Promise.allSettled(few.map((value) => notes.publish(value, { timeoutMs: 50 })));
      assert.ok(late.every(({ status }) => status === "rejected"));
      const abort = new AbortController();
      const sent = Promise.allSettled(few.map((value) => notes.publish(value, { signal: abort.signal })));
      abort.abort(new Error("enough"));
      await sent;
    }
    let accepted = 0;
    const gate = Promise.withResolvers<void>();
    bench.faults.append = (_, apply) => gate.promise.then(apply);
    await bench.sleep(5_000);
    // 130 bytes each: 15 have room at a time, and the others are refused for want of it.
    const many = Array.from({ length: 40 }, () => notes.publish("xx", { timeoutMs: 100 }));
    for (const outcome of await Promise.allSettled(many)) {
      if (outcome.status === "rejected" && outcome.reason.code === "timeout") accepted += 1;
    }
    assert.equal(accepted, 15);
    gate.resolve();
  }));

test("a small message does not overtake a large one that waits for room", () =>
  onMemory(async (bench) => {
    const gate = Promise.withResolvers<void>();
    bench.faults.append = (_, apply) => gate.promise.then(apply);
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1, bufferBytesMax: 1_000 });
    await notes.declare();
    const values = ["first", "x".repeat(1_000), "small"];
    const sent = values.map((value) => notes.publish(value, { key: "k" }));
    await bench.sleep(1);
    gate.resolve();
    await Promise.all(sent);
    assert.deepEqual(await stored(bench, "notes", 3), [values]);
  }));

test("waiting for room ends with the timeout or the signal, and nothing of it is stored", () =>
  onMemory(async (bench) => {
    const gate = Promise.withResolvers<void>();
    bench.faults.append = (_, apply) => gate.promise.then(apply);
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1, bufferBytesMax: 150 });
    const abort = new AbortController();
    const first = notes.publish("a");
    const late = notes.publish("b", { timeoutMs: 100 });
    const aborted = notes.publish("c", { signal: abort.signal });
    const last = notes.publish("d");
    await assert.rejects(late, { code: "overloaded", outcome: "not-applied" });
    abort.abort(new Error("enough"));
    await assert.rejects(aborted, /enough/);
    gate.resolve();
    await Promise.all([first, last]);
    assert.deepEqual(await stored(bench, "notes", 2), [["a", "d"]]);
  }));

test("aborting takes back what was not sent; what was sent only loses its waiter", () =>
  onMemory(async (bench) => {
    const gate = Promise.withResolvers<void>();
    bench.faults.append = (_, apply) => gate.promise.then(apply);
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1 });
    await notes.declare();
    const abort = new AbortController();
    const { signal } = abort;
    const sent = notes.publish("sent", { signal });
    await bench.sleep(1);
    const waiting = notes.publish("waiting", { signal });
    const other = notes.publish("other");
    abort.abort(new Error("enough"));
    await assert.rejects(sent, /enough/);
    await assert.rejects(waiting, /enough/);
    await assert.rejects(notes.publish("later", { signal }), /enough/);
    gate.resolve();
    await other;
    assert.deepEqual(await stored(bench, "notes", 2), [["sent", "other"]]);
  }));

test("publishMany answers in order, and a failure says how many were stored", () =>
  onMemory(async (bench) => {
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 2 });
    const receipts = await notes.publishMany([
      { value: "a", partition: 1 },
      { value: "b", partition: 0 },
      { value: "c", partition: 1 },
    ]);
    assert.deepEqual(
      receipts.map(({ partition, position }) => [partition, position]),
      [
        [1, 0n],
        [0, 0n],
        [1, 1n],
      ],
    );
    bench.faults.append = (batch, apply) =>
      batch.partition === 0 ? Promise.reject(new TenonError("overloaded", "full")) : apply();
    const entries = [0, 1, 1].map((partition) => ({ value: "x", partition }));
    await assert.rejects(notes.publishMany(entries), (error: unknown) => {
      assert.ok(error instanceof TenonError);
      assert.equal(error.code, "overloaded");
      assert.equal(error.outcome, "unknown");
      assert.equal(error.fields.stored, 2);
      assert.equal(error.fields.count, 3);
      return true;
    });
    bench.faults.append = undefined;
    await assert.rejects(notes.publishMany([{ value: "y" }, { value: "z", partition: 9 }]), { code: "invalid" });
    assert.deepEqual(await stored(bench, "notes", 5), [["b"], ["a", "c", "x", "x"]]);
  }));

test("a message at a limit is stored and one byte more is refused with the figures", () =>
  onMemory(async ({ engine }) => {
    const { messageBytesMax, keyBytesMax } = engine.messages.capabilities;
    const blobs = topic(engine, "blobs", { codec: bytes() });
    await blobs.publish(new Uint8Array(messageBytesMax));
    await blobs.publish(new Uint8Array(messageBytesMax - 2), { key: "é" });
    const invalid = { code: "invalid", outcome: "not-applied" };
    await assert.rejects(blobs.publish(new Uint8Array(messageBytesMax + 1)), invalid);
    await assert.rejects(
      blobs.publish(new Uint8Array(messageBytesMax - 4), { key: "éa", headers: { a: "b" } }),
      (error) => {
        assert.match((error as Error).message, new RegExp(`${messageBytesMax + 1} bytes.*at most ${messageBytesMax}`));
        return true;
      },
    );
    await blobs.publish(new Uint8Array(1), { key: "k".repeat(keyBytesMax) });
    await assert.rejects(blobs.publish(new Uint8Array(1), { key: "k".repeat(keyBytesMax + 1) }), invalid);
    await blobs.publish(new Uint8Array(1), { id: "i".repeat(255) });
    await assert.rejects(blobs.publish(new Uint8Array(1), { id: "i".repeat(256) }), invalid);
    await assert.rejects(blobs.publish(new Uint8Array(1), { id: "" }), invalid);
  }));

test("a value that cannot be encoded is refused by topic and content type, whichever codec refuses it", () =>
  onMemory(async ({ engine }) => {
    const foreign = { contentType: "text/x", encode: () => assert.fail("no"), decode: () => "" };
    for (const codec of [json<unknown>(), foreign]) {
      await assert.rejects(topic(engine, "notes", { codec }).publish(undefined), (error: unknown) => {
        assert.ok(error instanceof TenonError);
        assert.equal(error.code, "invalid");
        assert.equal(error.fields.topic, "notes");
        assert.ok(error.message.includes(`topic "notes" cannot be encoded as ${codec.contentType}`));
        return true;
      });
    }
  }));

test("declaring a topic makes it anew when somebody has removed it", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", { codec: text() });
    await notes.publish("former", { key: "k" });
    await engine.messages.remove("notes");
    await notes.declare();
    assert.equal((await notes.publish("new", { key: "k" })).position, 0n);
  }));

test("what is no instant is refused with what was given", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", { codec: text() });
    const soon = "soon" as unknown as number;
    await assert.rejects(notes.publish("m", { dueAt: soon }), { code: "invalid", message: /^dueAt .* is "soon", not/ });
    const expiring = notes.publish("m", { expiresAt: soon });
    await assert.rejects(expiring, { code: "invalid", message: /^expiresAt .* is "soon", not/ });
  }));

test("arguments that make no sense are refused, and nothing is stored", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", { codec: json<unknown>(), partitions: 2 });
    const invalid = { code: "invalid", outcome: "not-applied" };
    await assert.rejects(notes.publish(undefined), invalid);
    await assert.rejects(notes.publish(1n), invalid);
    await assert.rejects(notes.publish(1, { headers: { "tenon-id": "x" } }), invalid);
    await assert.rejects(notes.publish(1, { partition: 2 }), invalid);
    await assert.rejects(notes.publish(1, { partition: -1 }), invalid);
    await assert.rejects(notes.publish(1, { delayMs: 1, dueAt: 1 }), invalid);
    await assert.rejects(notes.publish(1, { delayMs: -1 }), invalid);
    await assert.rejects(notes.publish(1, { dueAt: Number.NaN }), invalid);
    await assert.rejects(notes.publish(1, { timeoutMs: 0 }), invalid);
    await assert.rejects(notes.publish(1, { id: "\udc00" }), invalid);
    const { partitions } = await notes.describe();
    assert.deepEqual(
      partitions.map(({ next }) => next),
      [0n, 0n],
    );
    assert.throws(() => topic(engine, "", { codec: text() }), { code: "invalid" });
    assert.throws(() => topic(engine, "a", { codec: text(), groups: ["x..y"] }), { code: "invalid" });
    assert.throws(() => topic(engine, "a", { codec: text(), partitions: 0 }), { code: "invalid" });
    assert.throws(() => topic(engine, "a", { codec: text(), partitions: 1_000_000_000 }), { code: "invalid" });
    assert.throws(() => topic(engine, "a", {} as never), { code: "invalid" });
    assert.throws(() => topic(engine, "a", { codec: {} as never }), { code: "invalid", message: /codec/ });
    assert.throws(() => topic(engine, "a", { codec: text(), producer: { id: "", epoch: 0 } }), { code: "invalid" });
  }));

test("a message that is not valid fails alone, whatever it was published with", () =>
  onMemory(async (bench) => {
    const notes = topic(bench.engine, "notes", { codec: text(), partitions: 1 });
    const [first, wrong, last] = await Promise.allSettled([
      notes.publish("a", { key: "k" }),
      notes.publish("b", { key: "k\ud800" }),
      notes.publish("c", { key: "k" }),
    ]);
    assert.equal(wrong.status === "rejected" && wrong.reason.code, "invalid");
    assert.deepEqual([first.status, last.status], ["fulfilled", "fulfilled"]);
    assert.deepEqual(await stored(bench, "notes", 2), [["a", "c"]]);
  }));

test("another partition count than the declared one is a conflict", () =>
  onMemory(async ({ engine }) => {
    await topic(engine, "notes", { codec: text(), partitions: 2 }).declare();
    const other = topic(engine, "notes", { codec: text(), partitions: 3 });
    await assert.rejects(other.declare(), { code: "conflict" });
    await assert.rejects(other.publish("a"), { code: "conflict" });
    await assert.rejects(
      other.consume("g", () => {}),
      { code: "conflict" },
    );
  }));

test("closing sends what was accepted and refuses what comes after", () =>
  onDisk([
    async ({ engine }) => {
      const notes = topic(engine, "notes", { codec: text() });
      const accepted = ["a", "b", "c"].map((value) => notes.publish(value));
      const closing = notes.close();
      await assert.rejects(notes.publish("d"), { code: "closed" });
      await closing;
      assert.equal((await Promise.all(accepted)).length, 3);
      await notes.close();
      for (const act of [() => notes.declare(), () => notes.consume("g", () => {}), () => notes.lag("g")]) {
        await assert.rejects(act(), { code: "closed" });
      }
    },
  ]));

test("a delayed message is never early and joins its key's order when it is due", () =>
  onMemory(async ({ engine, world, until }) => {
    const notes = topic(engine, "notes", { codec: text(), groups: ["g"] });
    const published = world.clock.now();
    const seen: [string, number][] = [];
    const receipt = await notes.publish("later", { key: "k", delayMs: 500 });
    assert.equal(receipt.position, undefined);
    await notes.publish("at once", { key: "k", delayMs: 0 });
    await notes.publish("past", { key: "k", dueAt: published - 1_000 });
    const consumer = await notes.consume("g", (value) => void seen.push([value, world.clock.now() - published]));
    await until(() => seen.length === 3);
    await consumer.close();
    assert.deepEqual(
      seen.map(([value]) => value),
      ["at once", "past", "later"],
    );
    const { delayLatenessMs } = engine.messages.capabilities;
    assert.ok(seen[2]![1] >= 500 && seen[2]![1] <= 500 + delayLatenessMs + 10, String(seen[2]![1]));
  }));

test("a message published again under its id gets the receipt of the first, also without a key", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", { codec: text(), partitions: 8 });
    const first = await notes.publish("once", { id: "n-1" });
    assert.deepEqual(await notes.publish("once", { id: "n-1" }), first);
    // Under another key it goes to another partition, where nothing has a position for it.
    const elsewhere = await notes.publish("once", { id: "n-1", key: "other" });
    assert.notEqual(elsewhere.partition, first.partition);
    assert.equal(elsewhere.position, undefined);
    const { partitions } = await notes.describe();
    assert.equal(partitions.filter(({ next }) => next > 0n).length, 1);
  }));

test("headers that are no plain object are refused at once, and harm nobody else", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", { codec: text(), partitions: 1 });
    const wrong = [5n, 7, true, "text", new Map([["a", "b"]])].map((headers) =>
      assert.rejects(notes.publish("x", { headers: headers as never }), { code: "invalid", outcome: "not-applied" }),
    );
    const good = notes.publish("y");
    await Promise.all(wrong);
    assert.equal((await good).position, 0n);
  }));
