import { equal, ok } from "node:assert/strict";
import type { TopicOptions } from "../../messaging/index.ts";
import { bytes, text, topic } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { refused } from "../expectations.ts";
import { lag, orders } from "./fixtures.ts";

const badNames = ["", ".", "a..b", ".a", "a.", "a b", "a/b", "köln", "a\n", "a".repeat(201)];
const goodNames = ["a", "A-b_c.1", "a".repeat(200)];

export const limitCases: readonly MessageCase[] = [
  {
    name: "a topic's name is letters, digits, `_` and `-` in parts joined by dots, at most 200 characters",
    rule: "Topic and group names match `[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*`, at most 200 characters (`invalid`).",
    async run({ engine }) {
      for (const name of badNames) {
        await refused("invalid", `the topic name "${name.slice(0, 20)}"`, () =>
          topic(engine, name, { codec: text() }).declare(),
        );
      }
      for (const name of goodNames) await topic(engine, name, { codec: text(), partitions: 1 }).publish("m");
      equal((await engine.messages.topics()).length, goodNames.length);
    },
  },
  {
    name: "a group's name follows the same rule",
    rule: "Topic and group names match `[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*`, at most 200 characters (`invalid`).",
    async run({ engine }) {
      const target = orders(engine);
      for (const name of badNames) {
        await refused("invalid", `consuming as "${name.slice(0, 20)}"`, () => target.consume(name, () => undefined));
        await refused("invalid", `declaring the group "${name.slice(0, 20)}"`, () =>
          orders(engine, { groups: [name] }).declare(),
        );
      }
      for (const name of goodNames) {
        const consumer = await target.consume(name, () => undefined);
        await consumer.close();
      }
    },
  },
  {
    name: "a message may be as large as the engine takes, and not one byte larger",
    rule: "4 MiB messages: body, key and headers together.",
    async run({ engine }) {
      const { messageBytesMax } = engine.messages.capabilities;
      const target = topic(engine, "orders", { codec: bytes(), partitions: 1, groups: ["group"] });
      const error = await refused("invalid", "one byte too many", () =>
        target.publish(new Uint8Array(messageBytesMax + 1)),
      );
      ok(error.message.includes(String(messageBytesMax)), "the message names the limit");
      await refused("invalid", "too large with its key", () =>
        target.publish(new Uint8Array(messageBytesMax - 3), { key: "four" }),
      );
      await refused("invalid", "too large among others", () =>
        target.publishMany([{ value: new Uint8Array(1) }, { value: new Uint8Array(messageBytesMax + 1) }]),
      );
      equal(await lag(engine).catch(() => 0), 0, "nothing of it was stored");
      await target.publish(new Uint8Array(messageBytesMax));
      await target.publish(new Uint8Array(messageBytesMax - 4), { key: "four" });
      equal(await lag(engine), 2);
    },
  },
  {
    name: "a key may be as long as the engine takes, and not one byte longer",
    rule: "65,535-byte keys: at and beyond the limit.",
    async run({ engine }) {
      const { keyBytesMax } = engine.messages.capabilities;
      const target = orders(engine);
      await target.publish("m", { key: "a".repeat(keyBytesMax) });
      await target.publish("m", { key: "" });
      await refused("invalid", "one byte too many", () => target.publish("m", { key: "a".repeat(keyBytesMax + 1) }));
      const wide = "ä".repeat(Math.floor(keyBytesMax / 2) + 1);
      await refused("invalid", "too long in UTF-8", () => target.publish("m", { key: wide }));
      equal(await lag(engine), 2);
    },
  },
  {
    name: "a topic with another partition count than before is a conflict",
    rule: "Partitions are fixed when a topic is declared.",
    async run({ engine }) {
      await orders(engine, { partitions: 2 }).declare();
      await refused("conflict", "declaring it", () => orders(engine, { partitions: 3 }).declare());
      await refused("conflict", "publishing to it", () => orders(engine, { partitions: 3 }).publish("m"));
      await refused("conflict", "consuming it", () =>
        orders(engine, { partitions: 3 }).consume("group", () => undefined),
      );
      await orders(engine, { partitions: 2 }).publish("m");
    },
  },
  {
    name: "options that make no sense are invalid",
    rule: "Bad input gets a clear error.",
    async run({ engine }) {
      const topics: readonly Partial<TopicOptions<string>>[] = [
        { partitions: 0 },
        { partitions: 1.5 },
        { partitions: engine.messages.capabilities.partitionsMax + 1 },
        { publishTimeoutMs: Number.NaN },
        { bufferBytesMax: -1 },
      ];
      for (const options of topics) {
        await refused("invalid", JSON.stringify(options), () => orders(engine, options).declare());
      }
      const target = orders(engine);
      for (const options of [
        { concurrency: 0 },
        { concurrency: 1.5 },
        { prefetch: 0 },
        { handlerTimeoutMs: Number.NaN },
        { windowMax: 0 },
        { retry: { attemptsMax: -1 } },
      ]) {
        await refused("invalid", JSON.stringify(options), () => target.consume("group", () => undefined, options));
      }
      for (const options of [{ partition: 1 }, { partition: -1 }, { delayMs: Number.NaN }, { delayMs: -1 }]) {
        await refused("invalid", JSON.stringify(options), () => target.publish("m", options));
      }
      equal(await lag(engine).catch(() => 0), 0);
    },
  },
  {
    name: "after the engine was closed every call of a topic is refused with `closed`",
    rule: "Everything after close: `closed`.",
    async run({ engine }) {
      const target = orders(engine);
      await target.publish("m");
      await engine.close();
      await refused("closed", "publish", () => target.publish("late"));
      await refused("closed", "publishMany", () => target.publishMany([{ value: "late" }]));
      await refused("closed", "consume", () => target.consume("group", () => undefined));
      await refused("closed", "describe", () => target.describe());
      await refused("closed", "lag", () => target.lag("group"));
      await refused("closed", "counting dead letters", () => target.deadLetters("group").count());
      await refused("closed", "redriving", () => target.deadLetters("group").redrive());
      await target.close();
    },
  },
];
