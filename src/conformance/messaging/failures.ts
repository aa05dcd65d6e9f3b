import { deepEqual, equal, ok } from "node:assert/strict";
import { TenonError } from "../../contracts/index.ts";
import { bytes, DeadLetter, json, topic } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { bytesOf, eventually, Gate, Observations, refused, staysPending, textOf } from "../expectations.ts";
import { needsAll, needsAtomic, needsDelay, needsSequences, numbered } from "../messages/fixtures.ts";
import { lag, orders, quick, settled, withLanes } from "./fixtures.ts";

export const failureCases: readonly MessageCase[] = [
  {
    name: "a handler that throws gets the message again, with its attempt counted",
    rule: "A throw means retry; `attempt` counts recorded failures.",
    async run({ engine }) {
      const target = orders(engine);
      await target.publish("m", { key: "k" });
      await target.publish("keyless");
      const attempts = new Observations<string>(engine.world);
      const consumer = await target.consume(
        "group",
        (value, { attempt }) => {
          attempts.add(`${value} ${attempt}`);
          if (attempt < 4) throw new Error("bad luck");
        },
        quick,
      );
      await attempts.atLeast(8);
      await settled(engine);
      deepEqual([...attempts.items].sort(), [
        "keyless 1",
        "keyless 2",
        "keyless 3",
        "keyless 4",
        "m 1",
        "m 2",
        "m 3",
        "m 4",
      ]);
      equal(await target.deadLetters("group").count(), 0);
      await consumer.close();
    },
  },
  {
    name: "the wait before a retry is at most the doubled delay, and at most its maximum",
    rule: "Retry with exponential backoff and full jitter.",
    takesMs: 60_000,
    needs: ({ exactTime }) => exactTime === true || "how long it waits can be judged only where time is exact",
    async run({ engine }) {
      const target = orders(engine);
      await target.publish("m", { key: "k" });
      const calls: number[] = [];
      const consumer = await target.consume(
        "group",
        () => {
          calls.push(engine.world.clock.monotonic());
          throw new Error("bad luck");
        },
        { retry: { delayMs: 1_000, delayMsMax: 4_000, attemptsMax: 8 } },
      );
      await eventually(
        engine.world,
        "a dead letter",
        async () => (await target.deadLetters("group").count()) === 1,
        60_000,
      );
      equal(calls.length, 9, "one delivery and eight retries");
      for (let index = 1; index < calls.length; index++) {
        const boundMs = Math.min(4_000, 1_000 * 2 ** (index - 1));
        const waitedMs = calls[index]! - calls[index - 1]!;
        ok(waitedMs <= boundMs + 100, `retry ${index} came after ${waitedMs} ms, the bound is ${boundMs}`);
      }
      ok(calls.at(-1)! - calls[0]! > 100, "it does wait");
      await consumer.close();
    },
  },
  {
    name: "the last attempt sends a message to the dead letters, with cause, attempts and origin, and its key goes on",
    rule: "The last attempt sends it to the dead letters with cause, attempts and origin. After a dead letter the key goes on.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 2, groups: ["group", "other"] });
      const receipt = await target.publish("bad", { key: "k", id: "id-1", headers: { trace: "1" }, partition: 1 });
      await target.publish("good", { key: "k", partition: 1 });
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume(
        "group",
        (value, { attempt }) => {
          seen.add(`${value} ${attempt}`);
          if (value === "bad") throw new Error("this order cannot be billed");
        },
        { retry: { delayMs: 1, delayMsMax: 2, attemptsMax: 2 } },
      );
      deepEqual([...(await seen.atLeast(4))], ["bad 1", "bad 2", "bad 3", "good 1"]);
      await settled(engine);
      const letters = target.deadLetters("group");
      equal(await letters.count(), 1);
      equal((await target.lag("group")).deadLetters, 1);
      equal(await target.deadLetters("other").count(), 0);
      const [letter] = await letters.peek(10);
      deepEqual(
        [textOf(letter!.body), letter!.value, letter!.key, letter!.headers.trace, letter!.failures],
        ["bad", "bad", "k", "1", 3],
      );
      ok(letter!.reason.includes("this order cannot be billed"));
      deepEqual({ ...letter!.origin }, { topic: "orders", partition: 1, position: receipt.position });
      ok(Math.abs(letter!.deadAt - engine.world.clock.now()) < 60_000);
      equal(await letters.count(), 1, "looking at them takes nothing away");
      await consumer.close();
    },
  },
  {
    name: "`DeadLetter` sends a message to the dead letters at once",
    rule: "`throw new DeadLetter(reason)` sends it to the dead letters.",
    async run({ engine }) {
      const target = orders(engine);
      await target.publishMany([{ key: "k", value: "bad" }, { key: "k", value: "good" }, { value: "keyless bad" }]);
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", async (value) => {
        seen.add(value);
        if (value.endsWith("bad")) throw new DeadLetter("the customer is unknown");
      });
      await seen.atLeast(3);
      await settled(engine);
      deepEqual([...seen.items].sort(), ["bad", "good", "keyless bad"]);
      const letters = await target.deadLetters("group").peek(10);
      deepEqual(
        letters.map((letter) => letter.reason),
        ["the customer is unknown", "the customer is unknown"],
      );
      await consumer.close();
    },
  },
  {
    name: "a message as large as any can become a dead letter, and be redriven",
    rule: "Headers named `tenon-…` do not count: Tenon adds them to copies.",
    async run({ engine }) {
      const { messageBytesMax } = engine.messages.capabilities;
      const target = topic(engine, "blobs", { codec: bytes(), partitions: 1, groups: ["group"] });
      await target.publish(new Uint8Array(messageBytesMax - 1).fill(7), { key: "k" });
      const sizes = new Observations<number>(engine.world);
      const consumer = await target.consume(
        "group",
        (value) => {
          sizes.add(value.length);
          if (sizes.items.length === 1) throw new DeadLetter("r".repeat(500));
        },
        quick,
      );
      await eventually(engine.world, "the dead letter", async () => (await target.deadLetters("group").count()) === 1);
      equal(await target.deadLetters("group").redrive(), 1);
      await sizes.atLeast(2);
      deepEqual(sizes.items, [messageBytesMax - 1, messageBytesMax - 1]);
      await consumer.close();
    },
  },
  {
    name: "a body that cannot be decoded is a dead letter at once, and its key goes on",
    rule: "An undecodable message is a dead letter at once.",
    async run({ engine }) {
      const raw = topic(engine, "orders", { codec: bytes(), partitions: 1, groups: ["group"] });
      await raw.publish(bytesOf("{ not json"), { key: "k" });
      await raw.publish(Uint8Array.of(0xff, 0xfe), { key: "k" });
      await raw.publish(bytesOf('"fine"'), { key: "k" });
      const target = topic(engine, "orders", { codec: json<string>(), partitions: 1 });
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value), quick);
      deepEqual([...(await seen.atLeast(1))], ["fine"]);
      await settled(engine);
      const letters = await target.deadLetters("group").peek(10);
      deepEqual(
        letters.map((letter) => [Buffer.from(letter.body).toString("latin1"), letter.value]),
        [
          ["{ not json", undefined],
          ["\xff\xfe", undefined],
        ],
      );
      equal(seen.items.length, 1);
      await consumer.close();
    },
  },
  {
    name: "a schema refuses what does not match it: when publishing, and as a dead letter when consuming",
    rule: "`schema` validates on publish and on consume.",
    async run({ engine }) {
      const raw = topic(engine, "orders", { codec: bytes(), partitions: 1, groups: ["group"] });
      const target = topic(engine, "orders", { schema: positive, partitions: 1 });
      await raw.declare();
      await refused("invalid", "a value that does not match", () => target.publish(-1));
      equal(await lag(engine), 0);
      await raw.publish(bytesOf("-1"), { key: "k" });
      await target.publish(1, { key: "k" });
      const seen = new Observations<number>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value), quick);
      await seen.atLeast(1);
      await settled(engine);
      deepEqual([...seen.items], [1]);
      equal(await target.deadLetters("group").count(), 1);
      await consumer.close();
    },
  },
  {
    name: "redriving appends dead letters at the end, for their group only, with attempts counted anew",
    rule: "Redrive appends at the end.",
    async run({ engine }) {
      const target = orders(engine, { groups: ["group", "other"] });
      let mended = false;
      const seen = new Observations<string>(engine.world);
      const others = new Observations<string>(engine.world);
      const consumers = [
        await target.consume(
          "group",
          (value, { attempt, key, headers, id }) => {
            seen.add(`${value} ${attempt} ${key} ${headers.trace} ${id}`);
            if (value.startsWith("bad") && !mended) throw new DeadLetter("not yet");
          },
          quick,
        ),
        await target.consume("other", (value) => others.add(value), quick),
      ];
      for (const value of ["bad1", "bad2", "good"]) {
        await target.publish(value, { key: "k", headers: { trace: "t" }, id: value });
      }
      await seen.atLeast(3);
      await settled(engine);
      mended = true;
      const letters = target.deadLetters("group");
      equal(await letters.redrive({ limit: 1 }), 1);
      await seen.atLeast(4);
      equal(await letters.count(), 1);
      equal(await letters.redrive(), 1);
      await seen.atLeast(5);
      await settled(engine);
      await settled(engine, "orders", "other");
      deepEqual(
        [...seen.items],
        ["bad1 1 k t bad1", "bad2 1 k t bad2", "good 1 k t good", "bad1 1 k t bad1", "bad2 1 k t bad2"],
      );
      deepEqual([...others.items], ["bad1", "bad2", "good"]);
      equal(await letters.count(), 0);
      equal(await letters.redrive(), 0);
      for (const consumer of consumers) await consumer.close();
    },
  },
  {
    name: "a redriven message that fails again becomes a dead letter again",
    rule: "Redrive appends at the end; the failure count starts anew.",
    async run({ engine }) {
      const target = orders(engine);
      let calls = 0;
      const consumer = await target.consume(
        "group",
        () => {
          calls++;
          throw new Error("bad luck");
        },
        { retry: { delayMs: 1, delayMsMax: 1, attemptsMax: 1 } },
      );
      await target.publish("m", { key: "k" });
      const letters = target.deadLetters("group");
      for (let round = 1; round <= 3; round++) {
        await eventually(engine.world, "a dead letter", async () => (await letters.count()) === 1);
        equal(calls, 2 * round);
        const [letter] = await letters.peek(1);
        deepEqual([textOf(letter!.body), letter!.key, letter!.failures], ["m", "k", 2]);
        deepEqual([letter!.origin.topic, letter!.origin.partition], ["orders", 0]);
        if (round < 3) equal(await letters.redrive(), 1);
      }
      await consumer.close();
    },
  },
  {
    name: "a keyless failure that backs off for long is settled in its lane and comes back from the retry topic",
    rule: "A keyless failure that backs off more than a minute is copied, delayed, to the group's retry topic and then settled.",
    takesMs: 700_000,
    needs: needsDelay,
    async run({ engine }) {
      const target = orders(engine);
      const seen = new Observations<string>(engine.world);
      const handler = (value: string, { attempt, topic: name }: { attempt: number; topic: string }) => {
        seen.add(`${value} ${attempt} ${name}`);
        if (attempt === 1) throw new Error("bad luck");
      };
      const options = { retry: { delayMs: 600_000, delayMsMax: 600_000 } };
      const first = await target.consume("group", handler, options);
      await target.publishMany(numbered(30).map((value) => ({ value })));
      await seen.atLeast(30);
      // With full jitter nine in ten wait longer than a minute.
      await eventually(engine.world, "most have left the lane", async () => (await lag(engine)) < 15);
      await first.close();
      const second = await target.consume("group", handler, options);
      await seen.atLeast(60, 700_000);
      await settled(engine);
      const again = seen.items.slice(30).sort();
      deepEqual(
        again,
        numbered(30)
          .map((value) => `${value} 2 orders`)
          .sort(),
      );
      equal(await target.deadLetters("group").count(), 0);
      await second.close();
    },
  },
  {
    name: "a lost reply to a commit leads neither to a second delivery nor to a second dead letter",
    rule: "A commit repeated unchanged changes nothing.",
    needs: needsAll(needsAtomic, needsSequences),
    async run({ engine }) {
      let lostCount = 0;
      const lossy = withLanes(engine.messages, {
        async commit(lane, change) {
          await lane.commit(change);
          if (lostCount++ % 2 === 0) throw new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });
        },
      });
      const target = orders({ messages: lossy, world: engine.world });
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => {
        seen.add(value);
        if (value === "m3") throw new DeadLetter("bad");
      });
      for (const value of numbered(10)) await target.publish(value, { key: "k" });
      await seen.atLeast(10);
      await settled(engine);
      await consumer.close();
      ok(lostCount > 1);
      deepEqual([...seen.items], numbered(10));
      equal(await target.deadLetters("group").count(), 1);
    },
  },
  {
    name: "a handler past its timeout gets its signal aborted, and its key waits for it to end",
    rule: "A handler past its timeout gets its signal aborted; its key waits until its promise settles.",
    async run({ engine }) {
      const target = orders(engine);
      const gate = new Gate();
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume(
        "group",
        async (value, { attempt, signal }) => {
          seen.add(`${value} ${attempt}`);
          if (value !== "slow") return;
          signal.addEventListener("abort", () => seen.add("aborted"));
          await gate.opened;
        },
        { ...quick, handlerTimeoutMs: 30, abandonAfterMs: 60_000 },
      );
      await target.publish("slow", { key: "k" });
      await target.publish("next", { key: "k" });
      await target.publish("other", { key: "another key" });
      await seen.atLeast(3);
      deepEqual([...seen.items].sort(), ["aborted", "other 1", "slow 1"]);
      await staysPending(engine.world, "the next of the key", seen.atLeast(4));
      gate.open();
      await seen.atLeast(4);
      await settled(engine);
      equal(seen.items.length, 4, "ending late is success");
      equal(seen.items[3], "next 1");
      await consumer.close();
    },
  },
  {
    name: "a handler that does not end after its abort is given up: the message is delivered again under a greater fence",
    rule: "Its key waits until its promise settles or `abandonAfterMs` passes.",
    async run({ engine }) {
      const target = orders(engine);
      const gate = new Gate();
      const deliveries = new Observations<{ value: string; attempt: number; fence: bigint }>(engine.world);
      const consumer = await target.consume(
        "group",
        async (value, { attempt, fence }) => {
          deliveries.add({ value, attempt, fence });
          if (value !== "stuck") return;
          if (attempt === 1) return await gate.opened;
          // The one that was given up ends now, while its successor runs; it must not settle the message.
          gate.open();
          await engine.world.timers.sleep(60);
          deliveries.add({ value: "stuck ended", attempt, fence });
        },
        { ...quick, handlerTimeoutMs: 1_000, abandonAfterMs: 40 },
      );
      await target.publish("stuck", { key: "k" });
      await target.publish("next", { key: "k" });
      const [first, second, third, fourth] = await deliveries.atLeast(4);
      deepEqual(
        [first!, second!, third!, fourth!].map(({ value, attempt }) => `${value} ${attempt}`),
        ["stuck 1", "stuck 2", "stuck ended 2", "next 1"],
      );
      await settled(engine);
      equal(deliveries.items.length, 4);
      ok(second!.fence > first!.fence);
      await consumer.close();
    },
  },
];

/** A schema as data: whole numbers above zero. */
const positive = {
  "~standard": {
    version: 1 as const,
    vendor: "tenon",
    validate: (value: unknown) =>
      typeof value === "number" && value > 0 ? { value } : { issues: [{ message: "must be positive" }] },
    types: undefined as { readonly input: number; readonly output: number } | undefined,
  },
};
