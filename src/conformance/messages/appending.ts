import { deepEqual, equal, ok } from "node:assert/strict";
import type { MessageCase } from "../conformance-case.ts";
import { bytesOf, refused, textOf, within } from "../expectations.ts";
import { append, batch, declared, fetched, fetchedTexts, join, laneOf, lanes, numbered, soleLane } from "./fixtures.ts";

/** Clocks of an engine and of the test's machine may differ by this much. */
const clockDifferenceMsMax = 300_000;

export const appendCases: readonly MessageCase[] = [
  {
    name: "a message comes back as it was appended",
    rule: "Stored messages carry body, key, headers and id as they were appended, and when the engine stored them.",
    async run({ engine }) {
      await declared(engine);
      const everyByte = Uint8Array.from({ length: 256 }, (_, index) => index);
      const headers = { tenant: "köln", empty: "", "content-type": "application/json" };
      const started = engine.world.clock.now();
      const positions = await append(
        engine,
        "orders",
        { body: everyByte, key: "käse 🧀", headers, id: "id-1" },
        { body: new Uint8Array(0), key: "" },
        { body: bytesOf("bare") },
      );
      const { lane } = await soleLane(engine, "orders");
      const [full, empty, bare] = await fetched(engine.world, lane, 3);
      deepEqual(Buffer.from(full!.body), Buffer.from(everyByte));
      deepEqual([full!.key, { ...full!.headers }, full!.id], ["käse 🧀", headers, "id-1"]);
      deepEqual([empty!.body.byteLength, empty!.key], [0, ""]);
      deepEqual([textOf(bare!.body), bare!.key, bare!.id], ["bare", undefined, undefined]);
      deepEqual({ ...bare!.headers }, {});
      deepEqual([full!.position, empty!.position, bare!.position], positions);
      for (const message of [full!, empty!, bare!]) {
        ok(Math.abs(message.publishedAt - started) < clockDifferenceMsMax, "`publishedAt` is the engine's clock");
      }
    },
  },
  {
    name: "a message given keyless is not one with the empty key",
    rule: "The empty string is a key.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", { body: bytesOf("a"), key: "" }, { body: bytesOf("b"), key: undefined });
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(engine.world, lane, 2);
      deepEqual(
        stored.map((message) => message.key),
        ["", undefined],
      );
    },
  },
  {
    name: "positions of a partition grow in stored order",
    rule: "Stores messages of one partition, in order; answers their positions in the same order.",
    async run({ engine }) {
      await declared(engine);
      const positions = [
        ...(await append(engine, "orders", ...numbered(3, "a"))),
        ...(await append(engine, "orders", ...numbered(3, "b"))),
      ];
      equal(positions.length, 6);
      for (let index = 1; index < positions.length; index++) ok(positions[index]! > positions[index - 1]!);
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 6), [...numbered(3, "a"), ...numbered(3, "b")]);
    },
  },
  {
    name: "concurrent appends for one partition take effect in the order of the calls",
    rule: "Calls for one partition take effect in the order in which they were made.",
    async run({ engine }) {
      await declared(engine);
      const texts = numbered(200);
      const answers = await Promise.all(texts.map((text) => append(engine, "orders", text)));
      const positions = answers.flat();
      for (let index = 1; index < positions.length; index++) ok(positions[index]! > positions[index - 1]!);
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, texts.length), texts);
    },
  },
  {
    name: "partitions are apart: each message is in its own lane only",
    rule: "A lane is one (topic, group, partition).",
    async run({ engine }) {
      const { messages, world } = engine;
      await declared(engine, { partitions: 4 });
      await Promise.all(
        [0, 1, 2, 3].map((partition) =>
          messages.append(batch("orders", [`p${partition}`, `q${partition}`], { partition })),
        ),
      );
      for (const lane of await lanes(world, await join(engine, "orders"), 4)) {
        deepEqual(await fetchedTexts(world, lane, 2), [`p${lane.partition}`, `q${lane.partition}`]);
      }
    },
  },
  {
    name: "the caller may reuse its bytes and arrays once the append has settled",
    rule: "The arrays and bytes belong to the engine until it settles.",
    async run({ engine }) {
      await declared(engine);
      const body = bytesOf("before");
      const messages = [{ body, key: "k" }];
      await engine.messages.append({ topic: "orders", partition: 0, messages });
      body.fill(0);
      messages.pop();
      await append(engine, "orders", "next");
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 2), ["before", "next"]);
    },
  },
  {
    name: "fetched bytes stay what they were while other messages come and go",
    rule: "A body is valid for as long as it is referenced.",
    async run({ engine }) {
      await declared(engine);
      const { lane } = await soleLane(engine, "orders");
      await append(engine, "orders", "held on to");
      const [first] = await fetched(engine.world, lane, 1);
      for (let round = 0; round < 20; round++) {
        await append(engine, "orders", { body: new Uint8Array(200_000).fill(round + 1) });
        const [big] = await fetched(engine.world, lane, 1);
        ok(big!.body.every((byte) => byte === round + 1));
        await lane.commit({ settled: [big!.position] });
      }
      equal(textOf(first!.body), "held on to");
    },
  },
  {
    name: "a batch with one message that cannot be stored stores nothing",
    rule: "All or nothing.",
    async run({ engine }) {
      await declared(engine);
      const tooLarge = { body: new Uint8Array(engine.messages.capabilities.messageBytesMax + 1) };
      const error = await refused("invalid", "one of three is too large", () =>
        append(engine, "orders", "a", tooLarge, "c"),
      );
      equal(error.outcome, "not-applied");
      await append(engine, "orders", "next");
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 1), ["next"]);
      equal((await laneOf(engine, "orders")).lag, 1);
    },
  },
  {
    name: "a message of exactly messageBytesMax is stored, one byte more is invalid",
    rule: "`messageBytesMax`: the largest body plus key plus headers of one message, in bytes.",
    async run({ engine }) {
      await declared(engine);
      const { messageBytesMax } = engine.messages.capabilities;
      const key = "key";
      const body = new Uint8Array(messageBytesMax - key.length).fill(7);
      await append(engine, "orders", { body, key });
      const error = await refused("invalid", "one byte more", () =>
        append(engine, "orders", { body: new Uint8Array(messageBytesMax), key: "k" }),
      );
      ok(error.message.includes(String(messageBytesMax)), "the message names the limit");
      const { lane } = await soleLane(engine, "orders");
      const [message] = await fetched(engine.world, lane, 1);
      equal(message!.body.byteLength, body.byteLength);
      ok(Buffer.from(message!.body).equals(body));
    },
  },
  {
    name: "headers count towards the size of a message",
    rule: "`messageBytesMax`: the largest body plus key plus headers of one message, in bytes.",
    async run({ engine }) {
      await declared(engine);
      const { messageBytesMax } = engine.messages.capabilities;
      const headers = { name: "value" };
      await refused("invalid", "too large by its headers", () =>
        append(engine, "orders", { body: new Uint8Array(messageBytesMax - 8), headers }),
      );
      equal((await laneOf(engine, "orders")).lag, 0);
    },
  },
  {
    name: "a key of exactly keyBytesMax is stored, one byte more is invalid, counted in UTF-8",
    rule: "`keyBytesMax`: the largest key, in bytes of UTF-8.",
    async run({ engine }) {
      await declared(engine);
      const { keyBytesMax } = engine.messages.capabilities;
      const longest = "ä".repeat(Math.floor(keyBytesMax / 2)) + "a".repeat(keyBytesMax % 2);
      equal(Buffer.byteLength(longest), keyBytesMax);
      await append(engine, "orders", { body: bytesOf("fits"), key: longest });
      for (const key of [`${longest}a`, "a".repeat(keyBytesMax + 1)]) {
        await refused("invalid", "a key one byte longer", () => append(engine, "orders", { body: bytesOf("no"), key }));
      }
      const { lane } = await soleLane(engine, "orders");
      const [message] = await fetched(engine.world, lane, 1);
      equal(message!.key, longest);
    },
  },
  {
    name: "message ids and producer ids are at most 255 bytes",
    rule: "For deduplication by id. At most 255 bytes of UTF-8.",
    async run({ engine }) {
      await declared(engine);
      const longest = `${"ä".repeat(127)}a`;
      const body = bytesOf("m");
      await append(engine, "orders", { body, id: longest });
      await refused("invalid", "an id of 256 bytes", () => append(engine, "orders", { body, id: `${longest}a` }));
      const producer = { id: `${longest}a`, epoch: 0, sequence: 0 };
      await refused(["invalid", "unsupported"], "a producer id of 256 bytes", () =>
        engine.messages.append(batch("orders", ["m"], { producer })),
      );
      equal((await laneOf(engine, "orders")).lag, 1);
    },
  },
  {
    name: "a batch of batchBytesMax is stored, a larger or an empty one is invalid",
    rule: "Stores messages of one partition, in order, all or nothing; `invalid` when there are none or they exceed a limit.",
    async run({ engine }) {
      await declared(engine);
      const { batchBytesMax, messageBytesMax } = engine.messages.capabilities;
      const body = new Uint8Array(Math.min(messageBytesMax, 1024 * 1024) - 32);
      const count = Math.floor(batchBytesMax / (body.length + 32));
      await append(engine, "orders", ...Array.from({ length: count }, () => ({ body })));
      const more = Array.from({ length: count + 1 }, () => ({ body }));
      await refused("invalid", "one message more", () => append(engine, "orders", ...more));
      await refused("invalid", "no message", () => engine.messages.append(batch("orders", [])));
      equal((await laneOf(engine, "orders")).lag, count);
    },
  },
  {
    name: "a key or an id that is no well-formed Unicode is invalid",
    rule: "Bad input gets a clear error: UTF-8 would give it back as another one.",
    async run({ engine }) {
      await declared(engine);
      const body = bytesOf("m");
      await refused("invalid", "a key with a lone surrogate", () => append(engine, "orders", { body, key: "a\ud800" }));
      await refused("invalid", "an id with a lone surrogate", () => append(engine, "orders", { body, id: "\udc00b" }));
      equal((await laneOf(engine, "orders")).lag, 0);
    },
  },
  {
    name: "a partition that the topic does not have is invalid",
    rule: "`invalid`: the argument is wrong.",
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      for (const partition of [-1, 2, 0.5, Number.NaN]) {
        await refused("invalid", `partition ${partition}`, () =>
          engine.messages.append(batch("orders", ["m"], { partition })),
        );
      }
    },
  },
  {
    name: "messages that no group has settled are never dropped by age",
    rule: "Retention counts from settlement by every group; unsettled messages are never dropped by age.",
    async run({ engine }) {
      const { messages, world } = engine;
      await messages.declare("orders", { partitions: 1, groups: ["group"], retentionMs: 1 });
      const body = new Uint8Array(64 * 1024).fill(1);
      for (let index = 0; index < 64; index++) await append(engine, "orders", { body, key: String(index) });
      await world.timers.sleep(200);
      for (let index = 64; index < 128; index++) await append(engine, "orders", { body, key: String(index) });
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(world, lane, 128);
      deepEqual(
        stored.map((message) => message.key),
        Array.from({ length: 128 }, (_, index) => String(index)),
      );
      ok(stored.every((message) => message.body.byteLength === body.byteLength));
    },
  },
  {
    name: "a large backlog is read back complete and in order",
    rule: "A new grant starts with every unsettled message in stored order.",
    async run({ engine }) {
      const { world } = engine;
      await declared(engine);
      const texts = numbered(20_000);
      for (let start = 0; start < texts.length; start += 1_000) {
        await append(engine, "orders", ...texts.slice(start, start + 1_000));
      }
      const { lane } = await soleLane(engine, "orders", "group", { windowMax: texts.length });
      deepEqual(await within(world, "the backlog", fetchedTexts(world, lane, texts.length)), texts);
    },
  },
];
