import { deepEqual, equal, ok } from "node:assert/strict";
import { json, type Verdict, verdict } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { Observations } from "../expectations.ts";
import { needsCrash } from "../messages/fixtures.ts";
import { KeyOrderCheck, keyed, Lives, orders, quick, settled } from "./fixtures.ts";

export const batchCases: readonly MessageCase[] = [
  {
    name: "batches hold several messages of a key in order, and no key is in two batches at a time",
    rule: "Batch handlers; messages with the same key are handled in publish order, one batch at a time.",
    async run({ engine }) {
      const { random, timers } = engine.world;
      const target = orders(engine, { partitions: 3 });
      const entries = keyed(12, 40);
      await target.publishMany(entries);
      const check = new KeyOrderCheck("never");
      const running = new Set<string>();
      const sizes: number[] = [];
      const consumer = await target.consumeBatch(
        "group",
        async (messages) => {
          sizes.push(messages.length);
          const keys = new Set(messages.map(({ key }) => key!));
          for (const key of keys) if (running.has(key)) check.faults.push(`${key} is in two batches`);
          for (const key of keys) running.add(key);
          await timers.sleep(Math.floor(random.float() * 3));
          for (const key of keys) running.delete(key);
          for (const { value, fence } of messages) {
            check.begins(value, fence);
            check.done(value, fence);
          }
        },
        { batchCountMax: 16, concurrency: 4 },
      );
      await settled(engine);
      await consumer.close();
      deepEqual(check.faults, []);
      equal(check.doneCount, entries.length);
      ok(Math.max(...sizes) <= 16 && Math.max(...sizes) > 12, `sizes of ${sizes}`);
    },
  },
  {
    name: "a verdict settles, retries or buries its message, and a retry holds back the later ones of its key",
    rule: "Batch handlers return a verdict per message; a message settles only after all earlier ones of its key.",
    async run({ engine }) {
      const target = orders(engine);
      await target.publishMany(["a1", "a2", "a3", "b1", "b2", "c1"].map((value) => ({ value, key: value[0]! })));
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consumeBatch(
        "group",
        async (messages) => {
          for (const { value, attempt } of messages) seen.add(`${value} ${attempt}`);
          return messages.map(({ value, attempt }): Verdict => {
            if (value === "a2" && attempt === 1) return verdict.retry("not yet");
            return value === "b1" ? verdict.deadLetter("never") : verdict.settle;
          });
        },
        { batchCountMax: 10, ...quick },
      );
      await settled(engine);
      await consumer.close();
      deepEqual(seen.items.slice(0, 6).toSorted(), ["a1 1", "a2 1", "a3 1", "b1 1", "b2 1", "c1 1"]);
      deepEqual(seen.items.slice(6), ["a2 2", "a3 1"]);
      const letters = await target.deadLetters("group").peek();
      deepEqual(
        letters.map(({ value, reason }) => [value, reason]),
        [["b1", "never"]],
      );
    },
  },
  {
    name: "one message that always fails a batch ends alone, and everything else is handled",
    rule: "A throw fails every message of the batch; what has failed comes alone.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 2 });
      const entries = keyed(8, 5);
      await target.publishMany(entries);
      const handled = new Set<string>();
      const consumer = await target.consumeBatch(
        "group",
        async (messages) => {
          if (messages.some(({ value }) => value === "k3/2")) throw new Error("always");
          for (const { value } of messages) handled.add(value);
        },
        { batchCountMax: 40, retry: { ...quick.retry, attemptsMax: 3 } },
      );
      await settled(engine);
      await consumer.close();
      equal(handled.size, entries.length - 1);
      const letters = await target.deadLetters("group").peek();
      deepEqual(
        letters.map(({ value, failures }) => [value, failures]),
        [["k3/2", 4]],
      );
    },
  },
  {
    name: "an undecodable message becomes a dead letter, and the batch is called without it",
    rule: "An undecodable message is a dead letter at once.",
    async run({ engine }) {
      const raw = orders(engine);
      await raw.publishMany(['"one"', "{", '"two"'].map((value) => ({ value, key: "k" })));
      const seen = new Observations<string>(engine.world);
      const target = orders(engine, { codec: json<string>() });
      const consumer = await target.consumeBatch(
        "group",
        (messages) => {
          for (const { value } of messages) seen.add(value);
        },
        {
          batchCountMax: 10,
        },
      );
      await settled(engine);
      await consumer.close();
      deepEqual(seen.items, ["one", "two"]);
      equal(await target.deadLetters("group").count(), 1);
    },
  },
  {
    name: "batches that die with their process are delivered again, in the order of their keys",
    rule: "At least once; order holds across crashes.",
    needs: needsCrash,
    async run(subject) {
      const lives = new Lives(subject);
      const entries = keyed(6, 30);
      await orders(subject.engine, { partitions: 2 }).publishMany(entries);
      const check = new KeyOrderCheck("never");
      for (let life = 0; life < 3; life += 1) {
        const { engine } = subject;
        let batches = 0;
        const reached = new Observations<number>(engine.world);
        const single = lives.handler(async (value, { fence }, pause) => {
          await pause(1);
          check.begins(value, fence);
          check.done(value, fence);
        });
        await orders(engine, { partitions: 2 }).consumeBatch(
          "group",
          async (messages) => {
            for (const message of messages) await single(message.value, message);
            batches += 1;
            reached.add(batches);
          },
          { batchCountMax: 5, concurrency: 2, ...quick },
        );
        if (life === 2) await settled(engine);
        else {
          await reached.atLeast(3);
          await lives.crash();
          check.died();
        }
      }
      deepEqual(check.faults, []);
      equal(check.doneCount, entries.length);
    },
  },
];
