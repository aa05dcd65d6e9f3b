import { deepEqual, equal, ok } from "node:assert/strict";
import { TenonError } from "../../contracts/index.ts";
import { bytes, json, topic } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import {
  bytesOf,
  eventually,
  Gate,
  Observations,
  refused,
  rejectsWith,
  staysPending,
  textOf,
  within,
} from "../expectations.ts";
import { altered, fetched, needsDelay, needsIds, needsSequences, numbered, soleLane } from "../messages/fixtures.ts";
import { bodyBytes, keyed, lag, orders, settled } from "./fixtures.ts";

/** Murmur2 with Kafka's seed, from the tests of Kafka's own client. */
const kafkaHashes: readonly (readonly [key: string, hash: number])[] = [
  ["21", -973932308],
  ["foobar", -790332482],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
];

export const publishingCases: readonly MessageCase[] = [
  {
    name: "publish answers where the message was stored, and the handler finds it there",
    rule: "`publish` resolves when the change survives what `capabilities.survives` says.",
    async run({ engine }) {
      const topicOfOrders = topic(engine, "orders", { codec: json<{ total: number }>(), partitions: 4 });
      const seen = new Observations<readonly unknown[]>(engine.world);
      const consumer = await topicOfOrders.consume("group", (value, context) => {
        const { key, id, topic: name, group, partition, position, attempt } = context;
        seen.add([value, key, id, { ...context.headers }, name, group, partition, position, attempt]);
      });
      const headers = { trace: "1" };
      const receipt = await topicOfOrders.publish({ total: 7 }, { key: "käse", id: "id-1", headers, partition: 2 });
      equal(receipt.partition, 2);
      deepEqual(
        [...(await seen.atLeast(1))],
        [[{ total: 7 }, "käse", "id-1", headers, "orders", "group", 2, receipt.position, 1]],
      );
      await consumer.close();
    },
  },
  {
    name: "a key chooses its partition by Kafka's murmur2",
    rule: "The hash (murmur2, as Kafka) is the block's, the same everywhere.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 7 });
      for (const [key, hash] of kafkaHashes) {
        const { partition } = await target.publish("m", { key });
        equal(partition, (hash & 0x7fffffff) % 7, `the partition of ${key}`);
      }
      const first = await target.publish("m", { key: "ключ 🗝" });
      equal((await target.publish("m", { key: "ключ 🗝" })).partition, first.partition);
    },
  },
  {
    name: "what one caller publishes for a key keeps its order, awaited or not",
    rule: "Messages with the same key are stored in publish order.",
    async run({ engine }) {
      const target = orders(engine);
      const texts = numbered(500);
      const receipts = await Promise.all(texts.map((value) => target.publish(value, { key: "k" })));
      for (let index = 1; index < receipts.length; index++) {
        ok(receipts[index]!.position! > receipts[index - 1]!.position!);
      }
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(engine.world, lane, texts.length);
      deepEqual(
        stored.map((message) => textOf(message.body)),
        texts,
      );
    },
  },
  {
    name: "many are published at once, each with its receipt",
    rule: "`publishMany`: per-partition batches.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 4 });
      const entries = keyed(10, 10);
      const receipts = await target.publishMany(entries);
      equal(receipts.length, 100);
      equal(new Set(receipts.map((receipt) => `${receipt.partition}/${receipt.position}`)).size, 100);
      equal(await lag(engine), 100);
      deepEqual(await target.publishMany([]), []);
    },
  },
  {
    name: "a publish whose reply is lost is repeated: stored once, in order",
    rule: "Automatic retries carry (producer, partition, sequence), repeated unchanged after an unknown outcome, so that order holds.",
    needs: needsSequences,
    async run({ engine }) {
      let calls = 0;
      const lossy = altered(engine.messages, {
        async append(batch) {
          calls++;
          if (calls % 5 === 1) throw new TenonError("unavailable", "the request was lost");
          const positions = await engine.messages.append(batch);
          if (calls % 3 === 0) throw new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });
          return positions;
        },
      });
      const target = orders({ messages: lossy, world: engine.world }, { publishTimeoutMs: 60_000 });
      const texts = numbered(200);
      const receipts = [];
      for (let start = 0; start < texts.length; start += 20) {
        const publishing = texts.slice(start, start + 20).map((value) => target.publish(value, { key: "k" }));
        receipts.push(...(await within(engine.world, "published in spite of losses", Promise.all(publishing))));
      }
      ok(calls > 10, "replies were lost and the batches repeated");
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(engine.world, lane, texts.length);
      deepEqual(
        stored.map((message) => textOf(message.body)),
        texts,
      );
      deepEqual(
        stored.map((message) => message.position),
        receipts.map((receipt) => receipt.position),
      );
      equal(await lag(engine), texts.length);
    },
  },
  {
    name: "a publish that gets no reply in time fails with an unknown outcome, and the partition goes on in order",
    rule: "Publish timeout; one batch in flight per producer and partition, so that order holds.",
    needs: needsSequences,
    async run({ engine }) {
      const gate = new Gate();
      let calls = 0;
      const stalled = altered(engine.messages, {
        async append(batch) {
          calls++;
          const positions = await engine.messages.append(batch);
          if (calls === 1) {
            await gate.opened;
            throw new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });
          }
          return positions;
        },
      });
      const target = orders({ messages: stalled, world: engine.world });
      await target.declare();
      const error = await refused("timeout", "no reply in time", () =>
        target.publish("first", { key: "k", timeoutMs: 50 }),
      );
      equal(error.outcome, "unknown");
      const later = ["second", "third"].map((value) => target.publish(value, { key: "k", timeoutMs: 60_000 }));
      gate.open();
      await within(engine.world, "later ones are stored", Promise.all(later));
      const { lane } = await soleLane(engine, "orders");
      const stored = (await fetched(engine.world, lane, 3)).map((message) => textOf(message.body));
      deepEqual(stored, ["first", "second", "third"]);
      equal(await lag(engine), 3, "nothing was stored twice");
    },
  },
  {
    name: "the producer's buffer is bounded: publishing waits for room, in order, up to its timeout",
    rule: "Bounded producer buffer with back-pressure.",
    async run({ engine }) {
      const gate = new Gate();
      let handedOver = 0;
      const stalled = altered(engine.messages, {
        async append(batch) {
          handedOver += bodyBytes(batch);
          await gate.opened;
          return engine.messages.append(batch);
        },
      });
      const target = topic({ messages: stalled, world: engine.world }, "orders", {
        codec: bytes(),
        partitions: 1,
        groups: ["group"],
        bufferBytesMax: 10_000,
        publishTimeoutMs: 60_000,
      });
      await target.declare();
      const bodies = Array.from({ length: 100 }, (_, index) => new Uint8Array(1_000).fill(index));
      const publishing = Promise.all(bodies.map((body) => target.publish(body, { key: "k" })));
      await staysPending(engine.world, "publishing while the engine stalls", publishing);
      ok(handedOver <= 10_000, `${handedOver} bytes were taken on`);
      const error = await refused(["overloaded", "timeout"], "no room in time", () =>
        target.publish(new Uint8Array(1_000), { key: "k", timeoutMs: 30 }),
      );
      equal(error.outcome, "not-applied");
      const reason = new Error("enough");
      const controller = new AbortController();
      const waiting = target.publish(new Uint8Array(1_000), { key: "k", signal: controller.signal });
      controller.abort(reason);
      await rejectsWith(reason, "publish", within(engine.world, "the abort", waiting));
      gate.open();
      const receipts = await within(engine.world, "all are stored", publishing);
      for (let index = 1; index < receipts.length; index++) {
        ok(receipts[index]!.position! > receipts[index - 1]!.position!);
      }
      equal(await lag(engine), 100, "what was refused or aborted is not stored");
    },
  },
  {
    name: "publishing is aborted by its signal",
    rule: "Every wait takes `{ signal }`.",
    async run({ engine }) {
      const gate = new Gate();
      const stalled = altered(engine.messages, {
        async append(batch) {
          await gate.opened;
          return engine.messages.append(batch);
        },
      });
      const target = orders({ messages: stalled, world: engine.world });
      await target.declare();
      const reason = new Error("enough");
      await rejectsWith(
        reason,
        "an aborted signal",
        target.publish("never sent", { signal: AbortSignal.abort(reason) }),
      );
      const controller = new AbortController();
      const { signal } = controller;
      const waits: readonly Promise<unknown>[] = [
        target.publish("a", { signal }),
        target.publishMany([{ value: "b" }, { value: "c" }], { signal }),
      ];
      for (const wait of waits) wait.catch(() => undefined);
      await engine.world.timers.sleep(1);
      controller.abort(reason);
      for (const wait of waits) await rejectsWith(reason, "publish", within(engine.world, "the abort", wait));
      gate.open();
      await target.publish("last", { key: "k" });
      ok((await lag(engine)) <= 4, "what was not sent is not stored");
    },
  },
  {
    name: "a message id published twice is stored once, and both callers get its place",
    rule: "A user's own message id deduplicates where `deduplicate` is `id`.",
    needs: needsIds,
    async run({ engine }) {
      const target = orders(engine);
      const first = await target.publish("m", { key: "k", id: "one" });
      const second = await target.publish("m", { key: "k", id: "one" });
      deepEqual(second, first);
      equal(await lag(engine), 1);
    },
  },
  {
    name: "an older epoch of a named producer is fenced",
    rule: "An older producer epoch is fenced (`lost`).",
    needs: needsSequences,
    async run({ engine }) {
      const older = orders(engine, { producer: { id: "relay", epoch: 1 } });
      await older.publish("a", { key: "k" });
      const newer = orders(engine, { producer: { id: "relay", epoch: 2 } });
      await newer.publish("b", { key: "k" });
      await refused("lost", "the older epoch", () => older.publish("zombie", { key: "k" }));
      await newer.publish("c", { key: "k" });
      equal(await lag(engine), 3);
    },
  },
  {
    name: "a delayed message is handled when it is due and joins the order of its key then",
    rule: "Never early; a delayed message joins its key's order when due.",
    needs: needsDelay,
    async run({ engine }) {
      const { clock, timers } = engine.world;
      const target = orders(engine);
      const dueAt = clock.now() + 1_500;
      const receipt = await target.publish("delayed", { key: "k", dueAt });
      equal(receipt.position, undefined);
      await target.publish("now", { key: "k" });
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", async (value) => {
        if (value === "delayed") ok(clock.now() >= dueAt, "never early");
        seen.add(`${value} begins`);
        if (value === "now") await timers.sleep(Math.max(0, dueAt - clock.now()) + 100);
        seen.add(`${value} ends`);
      });
      deepEqual([...(await seen.atLeast(4))], ["now begins", "now ends", "delayed begins", "delayed ends"]);
      await settled(engine);
      const before = clock.now();
      await target.publish("in a while", { delayMs: 40 });
      await seen.atLeast(5);
      ok(clock.now() >= before + 40);
      await consumer.close();
    },
  },
  {
    name: "what the engine cannot do is refused by the topic with `unsupported`",
    rule: "Where an engine cannot keep a promise it declares so, and the toolkit refuses.",
    async run({ engine }) {
      const capabilities = { ...engine.messages.capabilities, delay: false };
      const lesser = { messages: altered(engine.messages, { capabilities }), world: engine.world };
      const target = orders(lesser);
      await refused("unsupported", "a delay", () => target.publish("m", { delayMs: 10 }));
      await refused("unsupported", "an instant", () => target.publish("m", { dueAt: engine.world.clock.now() + 10 }));
      await target.publish("m", { delayMs: undefined });
      equal(await lag(engine), 1);
    },
  },
  {
    name: "what is published one way is stored in order, and what is refused is told",
    rule: "One-way publishing returns at once; nothing is lost unseen.",
    async run({ engine }) {
      const lost: string[] = [];
      const target = orders(engine, { oneWayBytesMax: 2_000, onLost: ({ value }) => lost.push(value) });
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value));
      const texts = numbered(100);
      const accepted = texts.filter((value) => target.publishOneWay(value, { key: "k" }));
      ok(accepted.length > 0 && accepted.length < texts.length, "the bound is reached");
      deepEqual([...accepted, ...lost].toSorted(), texts.toSorted());
      deepEqual([...(await seen.atLeast(accepted.length))], accepted);
      await eventually(engine.world, "the engine has answered", () => target.oneWay.waiting === 0);
      deepEqual(target.oneWay, { waiting: 0, stored: accepted.length, lost: lost.length });
      equal(target.publishOneWay("there is room again"), true);
      await consumer.close();
      await target.close();
    },
  },
  {
    name: "closing a topic flushes what was accepted, then refuses",
    rule: "Close flushes what was accepted, then refuses.",
    async run({ engine }) {
      const target = orders(engine);
      const publishing = numbered(50).map((value) => target.publish(value, { key: "k" }));
      await target.close();
      await target.close();
      equal((await Promise.all(publishing)).length, 50);
      await refused("closed", "publish", () => target.publish("late"));
      await refused("closed", "publishMany", () => target.publishMany([{ value: "late" }]));
      await refused("closed", "consume", () => target.consume("group", () => undefined));
      equal(await lag(engine), 50);
      const raw = topic(engine, "orders", { codec: bytes(), partitions: 1 });
      await raw.publish(bytesOf("another topic object goes on"));
    },
  },
];
