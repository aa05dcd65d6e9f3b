import { deepEqual, equal, ok } from "node:assert/strict";
import { topic } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { eventually, Gate, Observations, staysPending } from "../expectations.ts";
import { needsReplay, numbered } from "../messages/fixtures.ts";
import { KeyOrderCheck, keyed, lag, orders, quick, settled, withLanes } from "./fixtures.ts";

export const consumingCases: readonly MessageCase[] = [
  {
    name: "two groups each handle every message once",
    rule: "A group receives every message once per group, from the moment it is declared.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 4, groups: ["billing", "shipping"] });
      await target.publishMany(keyed(5, 10));
      const seen = {
        billing: new Observations<string>(engine.world),
        shipping: new Observations<string>(engine.world),
      };
      const consumers = [
        await target.consume("billing", (value) => seen.billing.add(value)),
        await target.consume("shipping", async (value) => seen.shipping.add(value)),
      ];
      const expected = keyed(5, 10)
        .map((entry) => entry.value)
        .sort();
      for (const group of ["billing", "shipping"] as const) {
        await seen[group].atLeast(50);
        await settled(engine, "orders", group);
        deepEqual([...seen[group].items].sort(), expected);
      }
      for (const consumer of consumers) await consumer.close();
    },
  },
  {
    name: "a group that its first consumer declares starts now",
    rule: "From the moment it is declared (`groups` on the topic, or its first consumer).",
    async run({ engine }) {
      const target = orders(engine);
      await target.publish("before", { key: "k" });
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("new", (value) => seen.add(value));
      await target.publish("after", { key: "k" });
      deepEqual([...(await seen.atLeast(1))], ["after"]);
      await consumer.close();
    },
  },
  {
    name: "a new group may start from the earliest message, and a group may seek",
    rule: '`from: "earliest"` or an instant needs `replay`.',
    needs: needsReplay,
    async run({ engine }) {
      const target = orders(engine);
      await target.publishMany(numbered(3).map((value) => ({ value, key: "k" })));
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("audit", (value) => seen.add(value), { from: "earliest" });
      await seen.atLeast(3);
      await settled(engine, "orders", "audit");
      await target.seek("audit", "earliest");
      await seen.atLeast(6);
      deepEqual([...seen.items], [...numbered(3), ...numbered(3)]);
      await consumer.close();
    },
  },
  {
    name: "the next consumer goes on where the former one stopped",
    rule: "The position belongs to the group, never to a member.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 2 });
      const seen: string[] = [];
      for (let round = 0; round < 3; round++) {
        await target.publishMany(keyed(5, 4).map(({ key, value }) => ({ key, value: `${round} ${value}` })));
        const arrived = new Observations<string>(engine.world);
        const consumer = await target.consume("group", (value) => arrived.add(value));
        await arrived.atLeast(20);
        await consumer.close();
        seen.push(...arrived.items);
      }
      equal(new Set(seen).size, 60);
      equal(seen.length, 60, "nothing was handled twice");
      equal(await lag(engine), 0);
    },
  },
  {
    name: "messages of a key are handled in publish order, one at a time, while keys run in parallel",
    rule: "Messages with the same key are handled in publish order, one at a time.",
    async run({ engine }) {
      const { random, timers } = engine.world;
      const target = orders(engine, { partitions: 3 });
      const check = new KeyOrderCheck("never");
      let running = 0;
      let most = 0;
      const consumer = await target.consume(
        "group",
        async (value, { fence }) => {
          check.begins(value, fence);
          most = Math.max(most, ++running);
          await timers.sleep(Math.floor(random.float() * 4));
          running--;
          check.done(value, fence);
        },
        { concurrency: 32 },
      );
      for (const entry of keyed(20, 20)) void target.publish(entry.value, { key: entry.key });
      await eventually(engine.world, "all are done", () => check.doneCount === 400);
      await settled(engine);
      deepEqual(check.faults, []);
      ok(most > 1, "different keys ran in parallel");
      await consumer.close();
    },
  },
  {
    name: "a key whose message fails again and again holds back itself and nothing else",
    rule: "A failing message holds back its key and nothing else; order holds also across retries.",
    async run({ engine }) {
      const target = orders(engine);
      const check = new KeyOrderCheck("never");
      const others = new Observations<string>(engine.world);
      let mended = false;
      await target.publishMany([
        ...[0, 1, 2].map((number) => ({ key: "bad", value: `bad/${number}` })),
        ...keyed(10, 20),
      ]);
      const consumer = await target.consume(
        "group",
        async (value, { fence }) => {
          check.begins(value, fence);
          if (value === "bad/0" && !mended) {
            check.fails(value, fence);
            throw new Error("not yet");
          }
          check.done(value, fence);
          if (!value.startsWith("bad")) others.add(value);
        },
        { retry: { delayMs: 2, delayMsMax: 5, attemptsMax: 1_000_000 } },
      );
      await others.atLeast(200);
      equal(check.doneCount, 200, "nothing of the failing key was done");
      mended = true;
      await eventually(engine.world, "the key goes on", () => check.doneCount === 203);
      await settled(engine);
      deepEqual(check.faults, []);
      await consumer.close();
    },
  },
  {
    name: "random failures change neither the order of a key nor what arrives",
    rule: "Handled in publish order, one at a time, also across retries.",
    async run({ engine }) {
      const { random, timers } = engine.world;
      const target = orders(engine, { partitions: 2 });
      const check = new KeyOrderCheck("never");
      await target.publishMany(keyed(15, 20));
      const consumer = await target.consume(
        "group",
        async (value, { fence }) => {
          check.begins(value, fence);
          await timers.sleep(Math.floor(random.float() * 3));
          if (random.float() < 0.3) {
            check.fails(value, fence);
            throw new Error("bad luck");
          }
          check.done(value, fence);
        },
        { ...quick, retry: { delayMs: 1, delayMsMax: 4, attemptsMax: 1_000 } },
      );
      await eventually(engine.world, "all are done", () => check.doneCount === 300);
      await settled(engine);
      deepEqual(check.faults, []);
      await consumer.close();
    },
  },
  {
    name: "messages without a key run in parallel, in one partition too",
    rule: "Without a key they run in parallel.",
    async run({ engine }) {
      const target = orders(engine);
      const together = new Observations<string>(engine.world);
      const gate = new Gate();
      const consumer = await target.consume(
        "group",
        async (value) => {
          together.add(value);
          await gate.opened;
        },
        { concurrency: 10 },
      );
      await target.publishMany(numbered(10).map((value) => ({ value })));
      await together.atLeast(10);
      gate.open();
      await settled(engine);
      await consumer.close();
    },
  },
  {
    name: "no more handlers run at once than the concurrency allows",
    rule: "`concurrency` is per consumer, across lanes.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 4 });
      await target.publishMany(keyed(40, 3));
      let running = 0;
      let most = 0;
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume(
        "group",
        async (value) => {
          most = Math.max(most, ++running);
          await engine.world.timers.sleep(1);
          running--;
          seen.add(value);
        },
        { concurrency: 5 },
      );
      await seen.atLeast(120);
      ok(most === 5, `${most} ran at once`);
      await consumer.close();
    },
  },
  {
    name: "a consumer takes no more messages than its prefetch while its handlers are busy",
    rule: "Bounded prefetch.",
    async run({ engine }) {
      const target = orders(engine);
      for (let start = 0; start < 2_000; start += 500) {
        await target.publishMany(keyed(500, 1));
      }
      let taken = 0;
      let settledCount = 0;
      let most = 0;
      const counting = withLanes(engine.messages, {
        async fetch(lane, limit, options) {
          const messages = await lane.fetch(limit, options);
          taken += messages.length;
          most = Math.max(most, taken - settledCount);
          return messages;
        },
        async commit(lane, change) {
          await lane.commit(change);
          settledCount += change.settled.length;
        },
      });
      const gate = new Gate();
      const busy = new Observations<string>(engine.world);
      const counted = orders({ messages: counting, world: engine.world });
      const consumer = await counted.consume(
        "group",
        async (value) => {
          busy.add(value);
          await gate.opened;
        },
        { concurrency: 10, prefetch: 50 },
      );
      await busy.atLeast(10);
      await staysPending(engine.world, "an eleventh handler", busy.atLeast(11));
      ok(taken <= 50, `${taken} messages were taken`);
      gate.open();
      await settled(engine);
      ok(most <= 50, `${most} messages were in hand at once`);
      await eventually(engine.world, "every commit is answered", () => settledCount === 2_000);
      await consumer.close();
    },
  },
  {
    name: "a consumer takes no more large messages than fit into its memory, beyond one answer, and as many as it handles at once",
    rule: "Bounded prefetch.",
    async run({ engine }) {
      const target = orders(engine);
      const large = "x".repeat(100_000);
      for (const value of numbered(60)) await target.publish(value + large, { key: value });
      let taken = 0;
      let most = 0;
      const counting = withLanes(engine.messages, {
        async fetch(lane, limit, options) {
          const messages = await lane.fetch(limit, options);
          taken += messages.length;
          most = Math.max(most, taken);
          return messages;
        },
        async commit(lane, change) {
          await lane.commit(change);
          taken -= change.settled.length;
        },
      });
      const gate = new Gate();
      const busy = new Observations<string>(engine.world);
      const counted = orders({ messages: counting, world: engine.world });
      const consumer = await counted.consume(
        "group",
        async (value) => {
          busy.add(value);
          await gate.opened;
        },
        { concurrency: 3, prefetchBytes: 1 },
      );
      await busy.atLeast(3);
      await staysPending(engine.world, "a fourth handler", busy.atLeast(4));
      gate.open();
      await settled(engine);
      ok(most <= 25, `${most} messages of 100,000 bytes were in hand at once`);
      await consumer.close();
    },
  },
  {
    name: "a failing message lets others pass up to the window, and all of them once it succeeds",
    rule: "A failing message holds back, up to `windowMax` (messages beyond it), nothing else but its key.",
    async run({ engine }) {
      const target = orders(engine);
      let mended = false;
      const others = new Observations<string>(engine.world);
      await target.publish("bad", { key: "bad" });
      await target.publishMany(numbered(60).map((value) => ({ value, key: value })));
      const consumer = await target.consume(
        "group",
        async (value) => {
          if (value !== "bad") others.add(value);
          else if (!mended) throw new Error("not yet");
        },
        { windowMax: 20, retry: { delayMs: 2, delayMsMax: 5, attemptsMax: 1_000_000 } },
      );
      await others.atLeast(19);
      await staysPending(engine.world, "a message beyond the window", others.atLeast(21));
      deepEqual(others.items.slice(0, 19).sort(), [...numbered(19)].sort());
      mended = true;
      await others.atLeast(60);
      await settled(engine);
      await consumer.close();
    },
  },
  {
    name: "lag is described: messages, held ones, the oldest's age, dead letters",
    rule: "The lag of a group and the age of its oldest unsettled message can be asked for.",
    async run({ engine }) {
      const target = orders(engine);
      deepEqual(await target.lag("group"), { messages: 0, held: 0, oldestAgeMs: undefined, deadLetters: 0 });
      await target.publishMany(numbered(3).map((value) => ({ value, key: value })));
      await engine.world.timers.sleep(20);
      const before = await target.lag("group");
      deepEqual([before.messages, before.held, before.deadLetters], [3, 0, 0]);
      ok(before.oldestAgeMs! >= 19);
      const failing = { retry: { delayMs: 3_600_000, delayMsMax: 3_600_000 } };
      const consumer = await target.consume(
        "group",
        (value) => {
          if (value === "m1") throw new Error("bad luck");
        },
        failing,
      );
      await eventually(engine.world, "one is held", async () => {
        const { messages, held } = await target.lag("group");
        return messages === 1 && held === 1;
      });
      await consumer.close();
      const description = await topic(engine, "orders", { schema: anything, partitions: 1 }).describe();
      equal(description.groups.find((each) => each.group === "group")!.lanes[0]!.held, 1);
    },
  },
];

const anything = {
  "~standard": { version: 1 as const, vendor: "tenon", validate: (value: unknown) => ({ value }) },
};
