import { deepEqual, equal, ok } from "node:assert/strict";
import type { MessageCase } from "../conformance-case.ts";
import { refused } from "../expectations.ts";
import { append, declared, fetchedTexts, joinDefaults, laneOf, soleLane } from "./fixtures.ts";

export const topicCases: readonly MessageCase[] = [
  {
    name: "declaring a topic again, also concurrently, changes nothing",
    rule: "Declaring makes the topic and its groups when they are not there; idempotent and safe to call concurrently.",
    async run({ engine }) {
      const { messages, world } = engine;
      const declaration = { partitions: 1, groups: ["group"] };
      await Promise.all(Array.from({ length: 20 }, () => messages.declare("orders", declaration)));
      await append(engine, "orders", "kept");
      await messages.declare("orders", declaration);
      deepEqual(await messages.topics(), ["orders"]);
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(world, lane, 1), ["kept"]);
    },
  },
  {
    name: "declaring a topic with another partition count is a conflict",
    rule: "Another partition count than before: `conflict`.",
    async run({ engine }) {
      await engine.messages.declare("orders", { partitions: 4 });
      await refused("conflict", "5 partitions instead of 4", () =>
        engine.messages.declare("orders", { partitions: 5 }),
      );
      await refused("conflict", "3 partitions instead of 4", () =>
        engine.messages.declare("orders", { partitions: 3 }),
      );
      equal((await engine.messages.describe("orders")).partitions.length, 4);
    },
  },
  {
    name: "a refused declaration adds no group",
    rule: "Another partition count than before: `conflict`, and a refused change has not happened.",
    async run({ engine }) {
      await engine.messages.declare("orders", { partitions: 4, groups: ["kept"] });
      const error = await refused("conflict", "another partition count", () =>
        engine.messages.declare("orders", { partitions: 2, groups: ["late"] }),
      );
      equal(error.outcome, "not-applied");
      const { groups } = await engine.messages.describe("orders");
      deepEqual(
        groups.map((each) => each.group),
        ["kept"],
      );
    },
  },
  {
    name: "topics are listed sorted by name",
    rule: "Every declared topic, sorted by name.",
    async run({ engine }) {
      deepEqual(await engine.messages.topics(), []);
      for (const topic of ["b", "a.b", "a", "B", "a-b"]) await engine.messages.declare(topic, { partitions: 1 });
      deepEqual(await engine.messages.topics(), ["B", "a", "a-b", "a.b", "b"]);
    },
  },
  {
    name: "a topic that was never declared is not found",
    rule: "`not-found`: the thing named does not exist.",
    async run({ engine }) {
      const { messages } = engine;
      await refused("not-found", "describe", () => messages.describe("nowhere"));
      await refused("not-found", "append", () => append(engine, "nowhere", "lost"));
      await refused("not-found", "join", () => messages.join("nowhere", "group", joinDefaults));
      deepEqual(await messages.topics(), []);
    },
  },
  {
    name: "a partition count outside of 1 to partitionsMax is invalid",
    rule: "Partitions: 1 to `capabilities.partitionsMax`, fixed for ever.",
    async run({ engine }) {
      const { messages } = engine;
      for (const partitions of [0, -1, 1.5, Number.NaN, messages.capabilities.partitionsMax + 1]) {
        await refused("invalid", `${partitions} partitions`, () => messages.declare("orders", { partitions }));
      }
      deepEqual(await messages.topics(), []);
    },
  },
  {
    name: "an empty name of a topic or a group is invalid",
    rule: "`invalid`: the argument is wrong.",
    async run({ engine }) {
      const { messages } = engine;
      await refused("invalid", "an empty topic name", () => messages.declare("", { partitions: 1 }));
      await refused("invalid", "an empty group name", () =>
        messages.declare("orders", { partitions: 1, groups: [""] }),
      );
      await declared(engine);
      await refused("invalid", "joining a group without a name", () => messages.join("orders", "", joinDefaults));
    },
  },
  {
    name: "a group receives what is appended after the declaration that named it first, and nothing before",
    rule: "A group receives every message once per group, from the moment it is declared.",
    async run({ engine }) {
      const { messages, world } = engine;
      await declared(engine, { groups: ["early"] });
      await append(engine, "orders", "before");
      await messages.declare("orders", { partitions: 1, groups: ["early", "late"] });
      await append(engine, "orders", "after");
      const early = await soleLane(engine, "orders", "early");
      const late = await soleLane(engine, "orders", "late");
      deepEqual(await fetchedTexts(world, early.lane, 2), ["before", "after"]);
      deepEqual(await fetchedTexts(world, late.lane, 1), ["after"]);
    },
  },
  {
    name: "joining an undeclared group declares it from now on",
    rule: "Joining a group that was not declared declares it.",
    async run({ engine }) {
      await declared(engine, { groups: [] });
      await append(engine, "orders", "before");
      const { lane, member } = await soleLane(engine, "orders", "new");
      await append(engine, "orders", "one");
      deepEqual(await fetchedTexts(engine.world, lane, 1), ["one"]);
      await member.leave();
      await append(engine, "orders", "two");
      const again = await soleLane(engine, "orders", "new");
      deepEqual(await fetchedTexts(engine.world, again.lane, 2), ["one", "two"]);
    },
  },
  {
    name: "a topic is described: positions, groups, members, lag, held entries, age",
    rule: "A description is exact at some instant between call and answer.",
    async run({ engine }) {
      const { messages, world } = engine;
      await declared(engine, { partitions: 2, groups: ["busy", "idle"] });
      const empty = await messages.describe("orders");
      equal(empty.topic, "orders");
      equal(empty.delayedCount, 0);
      equal(empty.partitions.length, 2);
      for (const each of empty.partitions) equal(each.first, each.next);
      for (const each of empty.groups) {
        equal(each.members, 0);
        for (const lane of each.lanes) {
          deepEqual([lane.lag, lane.held, lane.oldestPublishedAt], [0, 0, undefined]);
        }
      }
      const positions = await append(engine, "orders", "m0", "m1", "m2");
      const member = await messages.join("orders", "busy", joinDefaults);
      const granted = [await member.nextLane(), await member.nextLane()];
      const lane = granted.find((each) => each.partition === 0)!;
      const stored = await lane.fetch(3);
      const held = { position: positions[1]!, failures: 1, deliveries: 0, dueAt: world.clock.now() + 60_000 };
      await lane.commit({ settled: [positions[0]!, positions[2]!], held: [held] });

      const description = await messages.describe("orders");
      deepEqual(description.groups.map((each) => [each.group, each.members]).sort(), [
        ["busy", 1],
        ["idle", 0],
      ]);
      const [first, second] = description.partitions;
      ok(first!.next > positions[2]!, "`next` lies beyond the last message");
      equal(second!.first, second!.next);
      const busy = await laneOf(engine, "orders", "busy");
      deepEqual([busy.lag, busy.held, busy.low], [1, 1, positions[1]]);
      equal(busy.oldestPublishedAt, stored[1]!.publishedAt);
      const idle = await laneOf(engine, "orders", "idle");
      deepEqual([idle.lag, idle.held], [3, 0]);
      equal(idle.oldestPublishedAt, stored[0]!.publishedAt);
    },
  },
];
