import { deepEqual, equal, ok } from "node:assert/strict";
import { TenonError } from "../../contracts/index.ts";
import { text, topic, topicAdministration } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { eventually, Observations, refused, within } from "../expectations.ts";
import { limitsOf, needsCountLimit, needsEviction } from "../messages/fixtures.ts";
import { orders, quick } from "./fixtures.ts";

export const administrationCases: readonly MessageCase[] = [
  {
    name: "a topic is created, described, listed and deleted, and Tenon's own topics are not shown",
    rule: "Topic administration: create, describe, list, delete.",
    async run({ engine }) {
      const topics = topicAdministration(engine);
      const limits = limitsOf(engine, { countMax: 100, whenFull: "evict" });
      await topics.create("orders", { partitions: 3, groups: ["group"], ...limits });
      await topics.create("other");
      const consumer = await orders(engine, { partitions: 3 }).consume("group", () => undefined, quick);
      await consumer.close();
      deepEqual(await topics.list(), ["orders", "other"]);
      ok((await engine.messages.topics()).length > 2, "there are internal topics");
      const { partitions, groups, countMax, whenFull } = await topics.describe("orders");
      equal(partitions.length, 3);
      deepEqual(
        groups.map(({ group }) => group),
        ["group"],
      );
      deepEqual([countMax, whenFull], [limits.countMax, limits.whenFull ?? "refuse"]);
      await topics.delete("other");
      await topics.delete("orders");
      deepEqual(await topics.list(), []);
      deepEqual(await engine.messages.topics(), [], "what belonged to the topic is gone with it");
      for (const [what, call] of Object.entries({
        describe: () => topics.describe("orders"),
        delete: () => topics.delete("orders"),
        "remove a group": () => topics.removeGroup("orders", "group"),
      })) {
        await refused("not-found", what, call);
      }
    },
  },
  {
    name: "creating a topic again changes the settings that are given and keeps the others",
    rule: "What is left out of a later `create` stays as it is.",
    async run({ engine }) {
      const topics = topicAdministration(engine);
      const first = limitsOf(engine, { countMax: 10 });
      await topics.create("orders", { partitions: 3, groups: ["group"], retentionMs: 60_000, ...first });
      const second = limitsOf(engine, { countMax: 20 });
      await topics.create("orders", { groups: ["later"], ...second });
      const { partitions, groups, countMax, retentionMs } = await topics.describe("orders");
      deepEqual([partitions.length, groups.length, countMax, retentionMs], [3, 2, second.countMax, 60_000]);
      await refused("conflict", "another partition count", () => topics.create("orders", { partitions: 4 }));
      for (const wrong of [{ partitions: 0 }, { countMax: 0 }, { groups: ["a..b"] }]) {
        await refused("invalid", JSON.stringify(wrong), () => topics.create("orders", wrong));
      }
      await refused("invalid", "an internal topic", () => topics.create("orders..group..dead"));
      await refused("invalid", "an internal topic", () => topics.delete("orders..group..dead"));
    },
  },
  {
    name: "a deletion that was interrupted is ended by another one",
    rule: "Ends a deletion that was interrupted.",
    async run({ engine }) {
      const consumer = await orders(engine).consume("group", () => undefined, quick);
      await consumer.close();
      await engine.messages.remove("orders");
      ok((await engine.messages.topics()).length > 0, "internal topics are left");
      await topicAdministration(engine).delete("orders");
      deepEqual(await engine.messages.topics(), []);
    },
  },
  {
    name: "a removed group loses its dead letters and retries with it, and other groups keep theirs",
    rule: "Deletes one group of a topic with its dead letters and retries.",
    async run({ engine }) {
      const target = orders(engine, { groups: ["gone", "kept"] });
      await target.publish("m");
      for (const group of ["gone", "kept"]) {
        const consumer = await target.consume(group, () => Promise.reject(new Error("bad luck")), {
          retry: { attemptsMax: 0 },
        });
        await eventually(engine.world, "a dead letter", async () => (await target.deadLetters(group).count()) === 1);
        await consumer.close();
      }
      await topicAdministration(engine).removeGroup("orders", "gone");
      await refused("not-found", "its lag", () => target.lag("gone"));
      equal(await target.deadLetters("gone").count(), 0);
      equal(await target.deadLetters("kept").count(), 1);
    },
  },
  {
    name: "a consumer whose topic or group is deleted ends and says so",
    rule: "Those who consume a deleted topic end with `not-found`.",
    async run({ engine }) {
      const topics = topicAdministration(engine);
      const target = orders(engine, { groups: ["first", "second"] });
      const first = await target.consume("first", () => undefined, quick);
      const second = await target.consume("second", () => undefined, quick);
      await topics.removeGroup("orders", "first");
      const ended = await refused("not-found", "the group's consumer", () =>
        within(engine.world, "it ends", first.closed),
      );
      equal(ended.fields.group, "first");
      await topics.delete("orders");
      await refused("not-found", "the topic's consumer", () => within(engine.world, "it ends", second.closed));
      await refused("not-found", "publishing", () => target.publish("lost"));
      await first.close();
      await second.close();
      await eventually(
        engine.world,
        "nothing of it is left",
        async () => (await engine.messages.topics()).length === 0,
      );
    },
  },
  {
    name: "with create: never, using a topic that was not created is refused with the next step",
    rule: "Automatic creation can be turned off: `not-found` before the topic was created.",
    async run({ engine }) {
      const target = orders(engine, { create: "never" });
      const uses = {
        publish: () => target.publish("lost"),
        consume: () => target.consume("group", () => undefined, quick),
        broadcast: () => target.broadcast(() => undefined),
        declare: () => target.declare(),
        describe: () => target.describe(),
        seek: () => target.seek("group", "now"),
      };
      for (const [what, use] of Object.entries(uses)) {
        const error = await refused("not-found", what, use);
        ok(error.message.includes("topicAdministration"), error.message);
      }
      deepEqual(await engine.messages.topics(), []);
      const topics = topicAdministration(engine);
      await topics.create("orders", { partitions: 2 });
      await refused("conflict", "another partition count", () => target.publish("lost"));
      const other = orders(engine, { create: "never", partitions: 2 });
      await refused("not-found", "without its group", () => other.publish("lost"));
      const limits = limitsOf(engine, { countMax: 5 });
      await topics.create("orders", { groups: ["group"], ...limits });
      await other.publish("m");
      const seen = new Observations<string>(engine.world);
      const consumer = await other.consume("group", (value) => seen.add(value), quick);
      deepEqual(await seen.atLeast(1), ["m"]);
      equal((await topics.describe("orders")).countMax, limits.countMax, "using it changes no setting");
      await consumer.close();
    },
  },
  {
    name: "an engine can say for all of its topics that using them does not create them",
    rule: "The engine's `topicCreation` counts when a topic does not say.",
    async run({ engine }) {
      const production = { messages: engine.messages, world: engine.world, topicCreation: "never" as const };
      await refused("not-found", "a topic that does not say", () => orders(production).publish("lost"));
      await orders(production, { create: "ifMissing" }).publish("m");
      await orders(production).publish("m");
    },
  },
  {
    name: "a full topic refuses to take more, and takes it when there is room",
    rule: "`countMax` per topic refuses (`overloaded`).",
    needs: needsCountLimit,
    async run({ engine }) {
      const target = orders(engine, { countMax: 3 });
      await target.publishMany(["a", "b", "c"].map((value) => ({ value })));
      const error = await refused("overloaded", "a fourth", () => target.publish("d"));
      equal(error.outcome, "not-applied");
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value), quick);
      await seen.atLeast(3);
      await eventually(engine.world, "there is room", async () => (await target.lag("group")).messages === 0);
      await target.publish("d");
      deepEqual((await seen.atLeast(4))[3], "d");
      await consumer.close();
    },
  },
  {
    name: "a full topic that evicts keeps the newest, however many are published at once",
    rule: "`countMax` per topic evicts the oldest.",
    needs: needsEviction,
    async run({ engine }) {
      const target = orders(engine, { countMax: 10, whenFull: "evict" });
      const values = Array.from({ length: 95 }, (_, index) => `m${index}`);
      await target.publishMany(values.map((value) => ({ value, key: "k" })));
      equal((await target.lag("group")).messages, 10);
      const seen = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value) => seen.add(value), quick);
      deepEqual(await seen.atLeast(10), values.slice(-10));
      await consumer.close();
    },
  },
  {
    name: "creation and limits that are none are invalid",
    rule: "`invalid`: the argument is wrong.",
    async run({ engine }) {
      // What the engine does not have at all is refused as that, whatever the figure.
      const limit = engine.messages.capabilities.countLimits === "none" ? [] : [{ countMax: 0 }];
      const wrong = [{ create: "always" }, ...limit, { whenExpired: "keep" }, { whenFull: "burst" }];
      for (const options of wrong) {
        const use = async () => {
          await topic(engine, "orders", { codec: text(), ...(options as object) }).publish("lost");
        };
        const error = await refused("invalid", JSON.stringify(options), use);
        ok(error instanceof TenonError);
      }
      deepEqual(await engine.messages.topics(), []);
    },
  },
];
