import { deepEqual, equal, ok } from "node:assert/strict";
import type { MessageCase } from "../conformance-case.ts";
import { Gate, Observations, refused } from "../expectations.ts";
import { needsDelay } from "../messages/fixtures.ts";
import { orders, quick, settled } from "./fixtures.ts";

const rule = "A message past `expiresAt` becomes a dead letter, or is dropped if the topic says so.";

export const expiryCases: readonly MessageCase[] = [
  {
    name: "a message that expires before it is delivered becomes a dead letter, and its key goes on",
    rule,
    takesMs: 1_000,
    async run({ engine }) {
      const { clock, timers } = engine.world;
      const target = orders(engine);
      const expiresAt = clock.now() + 50;
      await target.publish("expired", { key: "k", expiresAt, headers: { h: "v" }, tag: "t" });
      await target.publish("lives", { key: "k", ttlMs: 60_000 });
      await target.publish("keyless", { ttlMs: 50 });
      await timers.sleep(100);
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value), quick);
      await settled(engine);
      deepEqual(seen.items, ["lives"]);
      const letters = await target.deadLetters("group").peek();
      deepEqual(letters.map(({ value, reason, failures }) => [value, reason, failures]).sort(), [
        ["expired", "expired", 0],
        ["keyless", "expired", 0],
      ]);
      const letter = letters.find(({ value }) => value === "expired")!;
      deepEqual([letter.key, letter.headers, letter.tag], ["k", { h: "v" }, "t"]);
      equal(await target.deadLetters("group").redrive(), 2);
      await seen.atLeast(3);
      await settled(engine);
      deepEqual(
        [...seen.items].sort(),
        ["expired", "keyless", "lives"],
        "what is redriven is wanted, so it expires no more",
      );
      await consumer.close();
    },
  },
  {
    name: "a topic that says so drops what expires, also one message behind another",
    rule,
    takesMs: 1_000,
    async run({ engine }) {
      const target = orders(engine, { whenExpired: "drop" });
      for (const value of ["a", "b", "c"]) await target.publish(value, { key: "k", ttlMs: 50 });
      await target.publish("lives", { key: "k" });
      await engine.world.timers.sleep(100);
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value), quick);
      deepEqual(await seen.atLeast(1), ["lives"]);
      await settled(engine);
      equal(await target.deadLetters("group").count(), 0);
      await consumer.close();
    },
  },
  {
    name: "a message that waits behind another one of its key, or for a handler, may expire there",
    rule: "Expiry is looked at when a message is about to be delivered.",
    takesMs: 1_000,
    async run({ engine }) {
      const target = orders(engine);
      const gate = new Gate();
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume(
        "group",
        async (value) => {
          seen.add(value);
          if (value === "slow") await gate.opened;
        },
        { ...quick, concurrency: 1 },
      );
      await target.publish("slow", { key: "k" });
      await seen.atLeast(1);
      await target.publish("behind", { key: "k", ttlMs: 50 });
      await target.publish("beside", { key: "l", ttlMs: 50 });
      await engine.world.timers.sleep(100);
      gate.open();
      await settled(engine);
      deepEqual(seen.items, ["slow"]);
      equal(await target.deadLetters("group").count(), 2);
      await consumer.close();
    },
  },
  {
    name: "a message that fails is not tried again once it has expired",
    rule: "Never delivered past `expiresAt`, also not as a retry.",
    takesMs: 3_000,
    async run({ engine, exactTime }) {
      const { clock } = engine.world;
      // Between the look at the clock and the handler's own, real time goes on.
      const slackMs = exactTime === true ? 0 : 100;
      const target = orders(engine);
      const calls: { readonly value: string; readonly at: number; readonly expiresAt: number | undefined }[] = [];
      const consumer = await target.consume(
        "group",
        (value, { expiresAt }) => {
          calls.push({ value, at: clock.now(), expiresAt });
          throw new Error("bad luck");
        },
        { retry: { attemptsMax: 10_000, delayMs: 20, delayMsMax: 40 } },
      );
      const failures: number[] = [];
      // A busy machine may not come to try it twice within the first of these.
      for (const ttlMs of [1_500, 6_000, 24_000]) {
        const expiresAt = clock.now() + ttlMs;
        await target.publish(`within ${ttlMs} ms`, { expiresAt });
        await settled(engine);
        const own = calls.filter(({ value }) => value === `within ${ttlMs} ms`);
        for (const { at, expiresAt: told } of own) {
          equal(told, expiresAt);
          ok(at < expiresAt + slackMs, `called ${at - expiresAt} ms after it had expired`);
        }
        failures.push(own.length);
        if (own.length > 1) break;
      }
      ok(failures.at(-1)! > 1, `it was called ${failures.join(", ")} times`);
      const letters = await target.deadLetters("group").peek();
      deepEqual(
        letters.map(({ reason, failures: count }) => [reason, count]),
        failures.map((count) => ["expired", count]),
      );
      await consumer.close();
    },
  },
  {
    name: "batch handlers get nothing that has expired",
    rule: "Never delivered past `expiresAt`.",
    takesMs: 1_000,
    async run({ engine }) {
      const target = orders(engine, { whenExpired: "drop" });
      for (let index = 0; index < 10; index++) {
        const expiry = index % 2 === 0 ? { ttlMs: 50 } : {};
        await target.publish(`m${index}`, { key: `k${index % 3}`, ...expiry });
      }
      await engine.world.timers.sleep(100);
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consumeBatch(
        "group",
        (messages) => {
          for (const { value } of messages) seen.add(value);
        },
        { ...quick, batchCountMax: 4 },
      );
      await settled(engine);
      deepEqual([...seen.items].sort(), ["m1", "m3", "m5", "m7", "m9"]);
      await consumer.close();
    },
  },
  {
    name: "a delayed message may expire after its instant, and one that could never be delivered is refused",
    rule: "An expiry before the due instant is `invalid`.",
    needs: needsDelay,
    takesMs: 2_500,
    async run({ engine }) {
      const target = orders(engine);
      await refused("invalid", "it expires when it is due", () => target.publish("m", { delayMs: 100, ttlMs: 100 }));
      await target.publish("m", { delayMs: 100, ttlMs: 60_000 });
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value), quick);
      deepEqual(await seen.atLeast(1), ["m"]);
      await consumer.close();
    },
  },
  {
    name: "an expiry that is none is invalid",
    rule: "`invalid`: the argument is wrong.",
    async run({ engine }) {
      const target = orders(engine);
      const wrong = [{ ttlMs: 0 }, { ttlMs: -1 }, { ttlMs: Number.NaN }, { expiresAt: -1 }, { expiresAt: 1, ttlMs: 1 }];
      for (const expiry of wrong) {
        await refused("invalid", JSON.stringify(expiry), () => target.publish("lost", expiry));
      }
      equal((await target.lag("group")).messages, 0);
    },
  },
];
