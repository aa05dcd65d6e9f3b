import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import { lostReply, onMemory, valuesOf } from "./fixtures.test.ts";
import { json, log, text } from "./index.ts";

test("values of one key stand in one partition, in the order in which they were appended", () =>
  onMemory(async ({ engine }) => {
    const clicks = log(engine, "clicks", { codec: json<{ n: number }>(), partitions: 4 });
    const places = await Promise.all(
      Array.from({ length: 40 }, (_, n) => clicks.append({ n }, { key: `user ${n % 5}`, headers: { n: `${n}` } })),
    );
    for (const user of [0, 1, 2, 3, 4]) {
      const own = places.filter((_, n) => n % 5 === user);
      assert.equal(new Set(own.map(({ partition }) => partition)).size, 1);
      const [{ partition } = { partition: 0 }] = own;
      const found: number[] = [];
      for await (const { value, key, headers } of clicks.read({ partition })) {
        if (key === `user ${user}`) found.push(value.n);
        assert.equal(headers?.n, `${value.n}`);
      }
      assert.deepEqual(
        found,
        Array.from({ length: 8 }, (_, index) => index * 5 + user),
      );
    }
  }));

test("values without a key are spread over the partitions", () =>
  onMemory(async ({ engine }) => {
    const clicks = log(engine, "clicks", { codec: text(), partitions: 4 });
    const places = await Promise.all(Array.from({ length: 40 }, () => clicks.append("x")));
    for (const each of [0, 1, 2, 3]) assert.equal(places.filter(({ partition }) => partition === each).length, 10);
    assert.equal((await clicks.append("y", { partition: 2 })).partition, 2);
    await assert.rejects(clicks.append("z", { partition: 4 }), { code: "invalid" });
  }));

test("what is appended in one turn is one batch, and a batch whose reply was lost is stored once", () =>
  onMemory(async ({ engine, faults }) => {
    const clicks = log(engine, "clicks", { codec: text(), partitions: 1 });
    const batches: number[] = [];
    faults.append = (batch, apply) => {
      batches.push(batch.records.length);
      return batches.length % 2 === 1 ? lostReply(apply) : apply();
    };
    await clicks.declare();
    await Promise.all(["a", "b", "c"].map((value) => clicks.append(value)));
    await clicks.append("d");
    assert.deepEqual(batches, [3, 3, 1, 1]);
    assert.deepEqual(await valuesOf(clicks), ["a", "b", "c", "d"]);
  }));

test("an append that stays in doubt says so, and what follows is stored", () =>
  onMemory(async ({ engine, faults, world }) => {
    const clicks = log(engine, "clicks", { codec: text(), partitions: 1, appendTimeoutMs: 1_000 });
    faults.append = (_batch, apply) => lostReply(apply);
    const started = world.clock.monotonic();
    await assert.rejects(clicks.append("a"), { code: "unavailable", outcome: "unknown" });
    assert.ok(world.clock.monotonic() - started <= 1_000);
    faults.append = () => Promise.reject(new TenonError("overloaded", "full"));
    await assert.rejects(clicks.append("b"), { code: "overloaded", outcome: "not-applied" });
    faults.append = undefined;
    await clicks.append("c");
    assert.deepEqual(await valuesOf(clicks), ["a", "c"]);
  }));

test("a reader begins where it says, and ends at what was the end", () =>
  onMemory(async ({ engine, sleep }) => {
    const clicks = log(engine, "clicks", { codec: text(), partitions: 2 });
    const places = [];
    for (const value of ["a", "b", "c", "d"]) {
      places.push(await clicks.append(value, { partition: 1 }));
      await sleep(10);
    }
    const entries = [];
    for await (const entry of clicks.read({ partition: 1 })) {
      entries.push(entry);
      await clicks.append("later", { partition: 1 });
    }
    assert.deepEqual(
      entries.map(({ value }) => value),
      ["a", "b", "c", "d"],
    );
    const read = async (from: Parameters<typeof clicks.read>[0]) => {
      const values = [];
      for await (const { value } of clicks.read({ partition: 1, ...from })) if (value !== "later") values.push(value);
      return values;
    };
    assert.deepEqual(await read({ from: places[2]!.position }), ["c", "d"]);
    assert.deepEqual(await read({ from: { at: entries[1]!.appendedAt } }), ["b", "c", "d"]);
    assert.deepEqual(await read({ from: { at: entries[1]!.appendedAt + 1 } }), ["c", "d"]);
    assert.deepEqual(await read({ from: "now" }), []);
    assert.equal((await clicks.locate(entries[3]!.appendedAt)).get(1), places[3]!.position);
    await assert.rejects(read({ partition: 2 }), { code: "invalid" });
  }));

test("a tail goes on with what comes, from all partitions, until its signal aborts", () =>
  onMemory(async ({ engine, sleep }) => {
    const clicks = log(engine, "clicks", { codec: text(), partitions: 3 });
    await clicks.append("before");
    const controller = new AbortController();
    const heard: string[] = [];
    const tailing = (async () => {
      for await (const { value } of clicks.tail({ signal: controller.signal })) heard.push(value);
    })();
    await sleep(10);
    for (let n = 0; n < 9; n++) await clicks.append(`${n}`);
    await sleep(10);
    assert.deepEqual([...heard].sort(), ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    controller.abort();
    await tailing;
    const all: string[] = [];
    for await (const { value } of clicks.tail({ from: "earliest" })) if (all.push(value) === 10) break;
    assert.ok(all.includes("before"));
  }));

test("a record that cannot be decoded is named by its place, without its content", () =>
  onMemory(async ({ engine }) => {
    const plain = log(engine, "clicks", { codec: text(), partitions: 1 });
    await plain.append('{"secret');
    await plain.append("2");
    const numbers = log(engine, "clicks", { codec: json<number>(), partitions: 1 });
    const read = async (from: bigint) => {
      const values = [];
      for await (const { value } of numbers.read({ from })) values.push(value);
      return values;
    };
    await assert.rejects(read(0n), (error: TenonError) => {
      assert.deepEqual(error.fields, { log: "clicks", partition: 0, position: 0n });
      return error.code === "invalid" && !error.message.includes("secret");
    });
    assert.deepEqual(await read(1n), [2]);
  }));

test("with create never a log has to be there, with as many partitions", () =>
  onMemory(async ({ engine }) => {
    const strict = log(engine, "clicks", { codec: text(), partitions: 2, create: "never" });
    await assert.rejects(strict.append("a"), { code: "not-found" });
    await log(engine, "clicks", { codec: text(), partitions: 3 }).declare();
    await assert.rejects(strict.append("a"), { code: "conflict" });
    await log(engine, "clicks", { codec: text(), partitions: 3, create: "never" }).append("a");
    assert.throws(() => log(engine, "a b", { codec: text() }), { code: "invalid" });
    assert.throws(() => log(engine, "clicks", {} as never), { code: "invalid" });
  }));
