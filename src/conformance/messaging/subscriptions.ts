import { deepEqual, equal, ok } from "node:assert/strict";
import type { Consumer } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { eventually, Observations, refused } from "../expectations.ts";
import { needsReplay, numbered } from "../messages/fixtures.ts";
import { keyed, lag, orders, quick, settled } from "./fixtures.ts";

export const subscriptionCases: readonly MessageCase[] = [
  {
    name: "a group handles what passes its filter; the rest advances its position and leaves its lag",
    rule: "Filters by tag and header expression at the subscription.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 2 });
      const tags = ["paid", "open", undefined] as const;
      await target.publishMany(
        numbered(60).map((value, index) => ({
          value,
          key: `k${index % 7}`,
          tag: tags[index % 3],
          headers: { region: index % 2 === 0 ? "eu-west" : "us" },
        })),
      );
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value, { tag }) => seen.add(`${value} ${tag}`), {
        filter: { tags: ["paid"], headers: { region: { prefix: "eu" } } },
      });
      await settled(engine);
      await consumer.close();
      const expected = numbered(60).filter((_, index) => index % 6 === 0);
      deepEqual(seen.items.toSorted(), expected.map((value) => `${value} paid`).toSorted());
    },
  },
  {
    name: "members of one group with different filters are refused while others consume",
    rule: "Members of one group with different filters are refused (`conflict`).",
    async run({ engine }) {
      const target = orders(engine);
      const first = await target.consume("group", () => undefined, { filter: { tags: ["a", "b"] } });
      await refused("conflict", "another filter", () =>
        target.consume("group", () => undefined, { filter: { tags: ["a"] } }),
      );
      await refused("conflict", "no filter", () => target.consume("group", () => undefined));
      const same = await target.consume("group", () => undefined, { filter: { tags: ["b", "a"] } });
      await first.close();
      await same.close();
      const later = await target.consume("group", () => undefined, { filter: { tags: ["a"] } });
      await later.close();
    },
  },
  {
    name: "a tag stays with its message among the dead letters and back",
    rule: "A dead letter keeps what the publisher wrote.",
    async run({ engine }) {
      const target = orders(engine);
      await target.publish("m", { tag: "paid", headers: { h: "1" }, key: "k" });
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume(
        "group",
        (value, { tag, headers }) => {
          seen.add(`${value} ${tag} ${headers.h}`);
          if (seen.items.length === 1) throw new Error("once");
        },
        { filter: { tags: ["paid"] }, retry: { attemptsMax: 0 } },
      );
      await eventually(engine.world, "it is dead", async () => (await target.deadLetters("group").count()) === 1);
      equal((await target.deadLetters("group").peek())[0]?.tag, "paid");
      await target.deadLetters("group").redrive();
      deepEqual(await seen.atLeast(2), ["m paid 1", "m paid 1"]);
      await settled(engine);
      await consumer.close();
    },
  },
  {
    name: "a paused consumer keeps its partitions beyond its session, delivers nothing, and goes on where it was",
    rule: "Pause and resume: lanes stay owned, heartbeats go on.",
    takesMs: 3_000,
    async run({ engine }) {
      const target = orders(engine, { partitions: 2 });
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value), { sessionMs: 1_000 });
      await eventually(engine.world, "it owns both", () => consumer.partitions.length === 2);
      consumer.pause();
      const entries = keyed(5, 10);
      await target.publishMany(entries);
      await engine.world.timers.sleep(2_500);
      deepEqual([seen.items.length, await lag(engine)], [0, 50]);
      equal(consumer.partitions.length, 2);
      consumer.resume();
      await settled(engine);
      await consumer.close();
      equal(seen.items.length, 50, "each once");
      for (const key of ["k0", "k1", "k2", "k3", "k4"]) {
        const own = entries.filter((entry) => entry.key === key).map((entry) => entry.value);
        deepEqual(
          seen.items.filter((value) => value.startsWith(`${key}/`)),
          own,
        );
      }
    },
  },
  {
    name: "partitions of a paused consumer go to others when it closes",
    rule: "Pausing holds nobody else up.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 2 });
      const paused = await target.consume("group", () => ok(false, "it is paused"), quick);
      paused.pause();
      await target.publishMany(keyed(4, 3));
      await paused.close();
      const seen = new Observations<string>(engine.world);
      const other: Consumer = await target.consume("group", (value) => seen.add(value));
      await settled(engine);
      equal(seen.items.length, 12);
      await other.close();
    },
  },
  {
    name: "one partition of a group seeks while it consumes, and the others stay",
    rule: "Seek both ways; `positions` by partition, partitions left out stay.",
    needs: needsReplay,
    async run({ engine }) {
      const target = orders(engine, { partitions: 2, retentionMs: 3_600_000 });
      const receipts = [];
      for (const [index, value] of numbered(10).entries()) {
        receipts.push(await target.publish(value, { partition: index % 2, key: "k" }));
      }
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value));
      await seen.atLeast(10);
      await settled(engine);
      await target.seek("group", { positions: new Map([[1, receipts[5]!.position!]]) });
      await seen.atLeast(13);
      await settled(engine);
      deepEqual(seen.items.slice(10), ["m5", "m7", "m9"]);
      await target.seek("group", "now");
      await target.publish("new", { partition: 0 });
      await seen.atLeast(14);
      await settled(engine);
      deepEqual(seen.items.slice(13), ["new"]);
      await consumer.close();
    },
  },
  {
    name: "seeking while paused moves the position, and resuming begins there",
    rule: "Pause and resume; seek while paused.",
    needs: needsReplay,
    async run({ engine }) {
      const target = orders(engine, { retentionMs: 3_600_000 });
      const receipts = await target.publishMany(numbered(6).map((value) => ({ value, key: "k" })));
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value));
      await seen.atLeast(6);
      await settled(engine);
      consumer.pause();
      await target.seek("group", { positions: new Map([[0, receipts[4]!.position!]]) });
      await engine.world.timers.sleep(50);
      deepEqual([seen.items.length, await lag(engine)], [6, 2]);
      consumer.resume();
      await seen.atLeast(8);
      await settled(engine);
      deepEqual(seen.items.slice(6), ["m4", "m5"]);
      await consumer.close();
    },
  },
];
