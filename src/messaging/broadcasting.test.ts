import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import { onMemory } from "./fixtures.test.ts";
import { type GivenUpMessage, json, text, topic, topicAdministration } from "./index.ts";

const options = { codec: text(), partitions: 2 };

test("a broadcast's retries wait in its own lane, however long, and make no topic", () =>
  onMemory(async ({ engine, log, until }) => {
    const notes = topic(engine, "notes", options);
    const attempts: number[] = [];
    const member = await notes.broadcast(
      (_value, { attempt }) => {
        attempts.push(attempt);
        if (attempt < 5) throw new Error("bad luck");
      },
      { retry: { delayMs: 600_000, delayMsMax: 600_000 } },
    );
    await notes.publish("keyless");
    await until(() => attempts.length === 5);
    await until(async () => (await notes.describe()).groups[0]!.lanes.every(({ lag }) => lag === 0));
    assert.deepEqual(attempts, [1, 2, 3, 4, 5]);
    assert.deepEqual(
      log.filter((line) => !line.includes("a handler failed; its message is retried")),
      [],
    );
    assert.deepEqual(await engine.messages.topics(), ["notes"]);
    await member.close();
  }));

test("what cannot be decoded or has expired is given up at once, and a report that throws is logged", () =>
  onMemory(async ({ engine, log, until, world }) => {
    const orders = topic(engine, "orders", { codec: json<{ id: string }>(), partitions: 1 });
    const given: GivenUpMessage<{ id: string }>[] = [];
    const seen: string[] = [];
    const member = await orders.broadcast(({ id }) => void seen.push(id), {
      onGivenUp(message) {
        given.push(message);
        throw new Error("the report failed");
      },
    });
    member.pause();
    const expiresAt = world.clock.now() + 100;
    await orders.publish({ id: "expired" }, { expiresAt, id: "i" });
    await engine.messages.append({ topic: "orders", partition: 0, messages: [{ body: Buffer.from("{") }] });
    await orders.publish({ id: "good" });
    await world.timers.sleep(200);
    member.resume();
    await until(() => seen.length === 1);
    await until(() => given.length === 2);
    assert.deepEqual(
      given.map(({ value, id, failures, position }) => [value, id, failures, position]),
      [
        [{ id: "expired" }, "i", 0, 0n],
        [undefined, undefined, 0, 1n],
      ],
    );
    assert.equal(given[0]!.reason, "expired");
    assert.match(given[1]!.reason, /^undecodable/);
    assert.equal(log.filter((line) => line.includes("reporting a message that was given up failed")).length, 2);
    assert.equal(log.filter((line) => line.includes("dead letter")).length, 0);
    await member.close();
    await until(async () => (await orders.describe()).groups.length === 0);
  }));

test("a broadcast that is aborted before it began leaves nothing, and wrong arguments are refused", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", options);
    await notes.declare();
    const abort = new AbortController();
    const reason = new Error("not needed");
    const starting = notes.broadcast(() => undefined, { signal: abort.signal });
    abort.abort(reason);
    await assert.rejects(starting, reason);
    assert.deepEqual((await notes.describe()).groups, []);
    const invalid = (error: unknown) => error instanceof TenonError && error.code === "invalid";
    await assert.rejects(notes.broadcast("none" as never), invalid);
    await assert.rejects(
      notes.broadcast(() => undefined, { onGivenUp: "none" as never }),
      invalid,
    );
    await assert.rejects(
      notes.broadcast(() => undefined, { from: "earliest" } as object),
      invalid,
    );
    assert.deepEqual((await notes.describe()).groups, []);
  }));

test("a consumer whose group was removed leaves its retry topic too, and closing it afterwards is quiet", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", { ...options, groups: ["g"] });
    const consumer = await notes.consume("g", () => undefined);
    await engine.messages.removeGroup("notes", "g");
    await assert.rejects(
      consumer.closed,
      (error: unknown) => error instanceof TenonError && error.code === "not-found",
    );
    await until(async () => (await engine.messages.describe("notes..g..retry")).groups[0]!.members === 0);
    await consumer.close();
    assert.deepEqual(consumer.partitions, []);
    await topicAdministration(engine).removeGroup("notes", "g");
    assert.deepEqual(await engine.messages.topics(), ["notes"]);
  }));
