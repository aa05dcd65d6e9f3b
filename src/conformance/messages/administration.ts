import { deepEqual, equal, ok } from "node:assert/strict";
import type { MessageCase, MessagesEngine } from "../conformance-case.ts";
import { aborted, bytesOf, refused } from "../expectations.ts";
import {
  append,
  batch,
  declared,
  fetched,
  fetchedTexts,
  joinDefaults,
  laneOf,
  limitsOf,
  needsCrash,
  needsDelay,
  needsIds,
  needsSequences,
  numbered,
  soleLane,
  waitingFetch,
} from "./fixtures.ts";

const removal = "A topic declared under the same name after its removal shares nothing with it.";

/** The topic has the group and nothing else; what is published to it now is all that the group gets. */
async function isNew(engine: MessagesEngine, groups: readonly string[] = ["group"]): Promise<void> {
  const description = await engine.messages.describe("orders");
  deepEqual(
    description.groups.map((each) => each.group),
    groups,
  );
  equal(description.delayedCount, 0);
  for (const { first, next } of description.partitions) equal(first, next);
  await append(engine, "orders", "new");
  const { lane, member } = await soleLane(engine, "orders", groups[0]);
  deepEqual(lane.held, []);
  deepEqual(await fetchedTexts(engine.world, lane, 1), ["new"]);
  equal((await laneOf(engine, "orders", groups[0])).lag, 1);
  await member.leave();
}

export const administrationCases: readonly MessageCase[] = [
  {
    name: "a removed topic is not found any more, whatever is asked of it",
    rule: "Deletes the topic with its messages, groups and progress; `not-found` when there is none.",
    async run({ engine }) {
      const { messages } = engine;
      await declared(engine);
      await declared(engine, { topic: "kept" });
      await append(engine, "orders", ...numbered(3));
      await append(engine, "kept", "here");
      await messages.remove("orders");
      deepEqual(await messages.topics(), ["kept"]);
      await refused("not-found", "describe", () => messages.describe("orders"));
      await refused("not-found", "append", () => append(engine, "orders", "lost"));
      await refused("not-found", "join", () => messages.join("orders", "group", joinDefaults));
      await refused("not-found", "remove again", () => messages.remove("orders"));
      await refused("not-found", "removeGroup", () => messages.removeGroup("orders", "group"));
      const { lane } = await soleLane(engine, "kept");
      deepEqual(await fetchedTexts(engine.world, lane, 1), ["here"]);
    },
  },
  {
    name: "a topic that is declared anew shares nothing with the removed one",
    rule: removal,
    async run({ engine }) {
      await declared(engine, { groups: ["group", "other"] });
      await append(engine, "orders", ...numbered(5));
      const { lane } = await soleLane(engine, "orders");
      const [, second] = await fetched(engine.world, lane, 5);
      await lane.commit({ settled: [], held: [{ position: second!.position, failures: 1, deliveries: 0, dueAt: 0 }] });
      await engine.messages.remove("orders");
      await declared(engine);
      await isNew(engine);
      await engine.messages.remove("orders");
      await declared(engine, { partitions: 3 });
      equal((await engine.messages.describe("orders")).partitions.length, 3);
    },
  },
  {
    name: "what producers of a removed topic had stored is forgotten with it",
    rule: removal,
    needs: needsSequences,
    async run({ engine }) {
      const first = batch("orders", ["m0", "m1"], { producer: { id: "p", epoch: 4, sequence: 0 } });
      await declared(engine);
      await engine.messages.append(first);
      await engine.messages.remove("orders");
      await declared(engine);
      const again = batch("orders", ["n0", "n1"], { producer: { id: "p", epoch: 0, sequence: 0 } });
      await engine.messages.append(again);
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 2), ["n0", "n1"]);
    },
  },
  {
    name: "the message ids of a removed topic are forgotten with it",
    rule: removal,
    needs: needsIds,
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", { body: bytesOf("old"), id: "same" });
      await engine.messages.remove("orders");
      await declared(engine);
      await append(engine, "orders", { body: bytesOf("new"), id: "same" });
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 1), ["new"]);
    },
  },
  {
    name: "delayed messages of a removed topic never come",
    rule: "Deletes the topic, delayed messages included.",
    needs: needsDelay,
    takesMs: 2_500,
    async run({ engine }) {
      const { world, messages } = engine;
      await declared(engine);
      const dueAt = world.clock.now() + 300;
      await append(engine, "orders", ...numbered(20).map((text) => ({ body: bytesOf(text), dueAt })));
      await messages.remove("orders");
      await declared(engine);
      equal((await messages.describe("orders")).delayedCount, 0);
      await world.timers.sleep(300 + messages.capabilities.delayLatenessMs + 100);
      await isNew(engine);
    },
  },
  {
    name: "removing a topic ends what is under way on it",
    rule: "Its lanes are lost, its memberships end: `nextLane` rejects with `not-found`.",
    async run({ engine }) {
      const { world, messages } = engine;
      await declared(engine);
      await append(engine, "orders", "m0");
      const { lane, member } = await soleLane(engine, "orders");
      const [stored] = await fetched(world, lane, 1);
      const waiting = waitingFetch(lane);
      const next = refused("not-found", "a waiting nextLane", () => member.nextLane());
      await messages.remove("orders");
      await aborted(world, "the lane is lost", lane.lost);
      await refused("lost", "a waiting fetch", () => waiting.promise);
      await next;
      await refused("not-found", "a later nextLane", () => member.nextLane());
      await refused("lost", "commit", () => lane.commit({ settled: [stored!.position] }));
      await lane.release();
      await member.leave();
      await declared(engine);
      await isNew(engine);
    },
  },
  {
    name: "a removed group loses its progress and its members, and other groups keep theirs",
    rule: "Deletes a group with its progress; its lanes are lost, its memberships end.",
    async run({ engine }) {
      const { world, messages } = engine;
      await declared(engine, { groups: ["gone", "kept"] });
      await append(engine, "orders", ...numbered(3));
      const gone = await soleLane(engine, "orders", "gone");
      const kept = await soleLane(engine, "orders", "kept");
      const waiting = refused("not-found", "a waiting nextLane", () => gone.member.nextLane());
      // When the removal fails, that is what the case has to say, and not what the engine's close makes of this.
      waiting.catch(() => undefined);
      await messages.removeGroup("orders", "gone");
      await aborted(world, "the group's lane is lost", gone.lane.lost);
      await waiting;
      await refused("lost", "fetch", () => gone.lane.fetch(1));
      await refused("not-found", "seek", () => messages.seek("orders", "gone", "now"));
      await refused("not-found", "remove again", () => messages.removeGroup("orders", "gone"));
      ok(!kept.lane.lost.aborted, "another group's lane is not lost");
      deepEqual(await fetchedTexts(world, kept.lane, 3), numbered(3));
      deepEqual(
        (await messages.describe("orders")).groups.map((each) => each.group),
        ["kept"],
      );
      const again = await soleLane(engine, "orders", "gone");
      await append(engine, "orders", "later");
      deepEqual(await fetchedTexts(world, again.lane, 1), ["later"]);
    },
  },
  {
    name: "what was removed stays removed after a crash, and what was declared anew is new",
    rule: "Removal is durable when it resolves.",
    needs: needsCrash,
    async run(subject) {
      const first = subject.engine;
      await declared(first, { topic: "gone" });
      await declared(first, { groups: ["group", "former"] });
      await append(first, "gone", ...numbered(3));
      await append(first, "orders", ...numbered(3));
      await first.messages.removeGroup("orders", "former");
      await first.messages.remove("gone");
      await subject.crash!();
      deepEqual(await subject.engine.messages.topics(), ["orders"]);
      await refused("not-found", "append", () => append(subject.engine, "gone", "lost"));
      equal((await laneOf(subject.engine, "orders")).lag, 3);
      await subject.engine.messages.remove("orders");
      await declared(subject.engine);
      await subject.crash!();
      await isNew(subject.engine);
      await declared(subject.engine, { topic: "gone" });
      await append(subject.engine, "gone", "anew");
      const { lane } = await soleLane(subject.engine, "gone");
      deepEqual(await fetchedTexts(subject.engine.world, lane, 1), ["anew"]);
    },
  },
  {
    name: "settings that are given again replace the former ones, those left out stay, also across a crash",
    rule: "Other settings that are given replace the former ones; those left out stay.",
    async run(subject) {
      const { messages } = subject.engine;
      const settings = async () => {
        const { retentionMs, countMax, whenFull } = await subject.engine.messages.describe("orders");
        return { retentionMs, countMax, whenFull };
      };
      await messages.declare("orders", { partitions: 1, retentionMs: 60_000 });
      deepEqual(await settings(), { retentionMs: 60_000, countMax: undefined, whenFull: "refuse" });
      const none = { countMax: undefined, whenFull: "refuse" };
      const first = limitsOf(subject.engine, { countMax: 10, whenFull: "evict" });
      await messages.declare("orders", { partitions: 1, ...first });
      deepEqual(await settings(), { retentionMs: 60_000, ...none, ...first });
      const second = limitsOf(subject.engine, { countMax: 20 });
      await messages.declare("orders", { partitions: 1, retentionMs: 30_000, ...second });
      await messages.declare("orders", { partitions: 1 });
      await subject.crash?.();
      deepEqual(await settings(), { retentionMs: 30_000, ...none, ...first, ...second });
    },
  },
  {
    name: "settings that make no sense are invalid and change nothing",
    rule: "`invalid`: the argument is wrong.",
    async run({ engine }) {
      const { messages } = engine;
      const limits = limitsOf(engine, { countMax: 10 });
      await messages.declare("orders", { partitions: 1, ...limits });
      const wrong = [
        { countMax: 0 },
        { countMax: 1.5 },
        { countMax: Number.NaN },
        { retentionMs: -1 },
        { whenFull: "burst" as "evict" },
      ];
      for (const settings of wrong) {
        await refused("invalid", JSON.stringify(settings), () =>
          messages.declare("orders", { partitions: 1, ...settings }),
        );
      }
      const { countMax, whenFull } = await messages.describe("orders");
      deepEqual([countMax, whenFull], [limits.countMax, "refuse"]);
    },
  },
];
