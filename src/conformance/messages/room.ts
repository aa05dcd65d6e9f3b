import { deepEqual, equal, ok } from "node:assert/strict";
import type { TopicDeclaration } from "../../contracts/index.ts";
import type { MessageCase, MessagesEngine } from "../conformance-case.ts";
import { bytesOf, refused } from "../expectations.ts";
import {
  append,
  batch,
  fetched,
  fetchedTexts,
  laneOf,
  needsAll,
  needsAtomic,
  needsCountLimit,
  needsCrash,
  needsDelay,
  needsEviction,
  needsIds,
  needsReplay,
  needsSequences,
  numbered,
  soleLane,
} from "./fixtures.ts";

const rule = "`countMax`: how many messages may be kept that are not settled.";

function limited(engine: MessagesEngine, countMax: number, more: Partial<TopicDeclaration> = {}): Promise<void> {
  return engine.messages.declare("orders", { partitions: 1, groups: ["group"], countMax, ...more });
}

async function full(engine: MessagesEngine, what: string, ...texts: readonly string[]): Promise<void> {
  const before = (await engine.messages.describe("orders")).partitions[0]!.next;
  const error = await refused("overloaded", what, () => append(engine, "orders", ...texts));
  equal(error.outcome, "not-applied");
  equal((await engine.messages.describe("orders")).partitions[0]!.next, before, `${what}: nothing of it is stored`);
}

export const roomCases: readonly MessageCase[] = [
  {
    name: "a full topic refuses a batch whole, and takes as much as was settled",
    rule: `${rule} An append that would exceed it is refused: \`overloaded\`.`,
    needs: needsCountLimit,
    async run({ engine }) {
      await limited(engine, 5);
      await append(engine, "orders", ...numbered(4));
      await full(engine, "two where one fits", "n0", "n1");
      await append(engine, "orders", "m4");
      await full(engine, "one too many", "n0");
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(engine.world, lane, 5);
      await lane.commit({ settled: [stored[0]!.position, stored[1]!.position] });
      await append(engine, "orders", "n0", "n1");
      await full(engine, "full again", "n2");
      deepEqual(await fetchedTexts(engine.world, lane, 2), ["n0", "n1"]);
    },
  },
  {
    name: "messages count from the lowest unsettled one of the slowest group, over all partitions",
    rule: `${rule} Per partition from the lowest unsettled one of the slowest group to the end.`,
    needs: needsCountLimit,
    async run({ engine }) {
      await limited(engine, 6, { partitions: 2, groups: ["fast", "slow"] });
      await engine.messages.append(batch("orders", numbered(3)));
      await engine.messages.append(batch("orders", numbered(3), { partition: 1 }));
      await full(engine, "six of six", "n0");
      const fast = await engine.messages.join("orders", "fast", {
        sessionMs: 10_000,
        revokeMs: 10_000,
        windowMax: 100,
      });
      for (const lane of [await fast.nextLane(), await fast.nextLane()]) {
        const settled = (await fetched(engine.world, lane, 3)).map(({ position }) => position);
        await lane.commit({ settled });
      }
      await full(engine, "the slow group has settled nothing", "n0");
      await engine.messages.removeGroup("orders", "slow");
      await append(engine, "orders", ...numbered(6, "n"));
      await full(engine, "six of six again", "n6");
    },
  },
  {
    name: "a message that is settled out of order makes no room before the ones below it are",
    rule: `${rule} From the lowest unsettled one to the end.`,
    needs: needsCountLimit,
    async run({ engine }) {
      await limited(engine, 3);
      await append(engine, "orders", ...numbered(3));
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(engine.world, lane, 3);
      await lane.commit({ settled: [stored[1]!.position, stored[2]!.position] });
      await full(engine, "the first one still holds all", "n0");
      await lane.commit({ settled: [stored[0]!.position] });
      await append(engine, "orders", ...numbered(3, "n"));
    },
  },
  {
    name: "delayed messages count, while they wait and when they have come",
    rule: `${rule} And the delayed ones.`,
    needs: needsAll(needsCountLimit, needsDelay),
    takesMs: 5_000,
    async run({ engine }) {
      const { world, messages } = engine;
      await limited(engine, 3);
      const dueAt = world.clock.now() + 2_000;
      await append(engine, "orders", "m0", { body: bytesOf("later"), dueAt });
      await append(engine, "orders", "m1");
      await full(engine, "two and a delayed one", "n0");
      await world.timers.sleep(2_000 + messages.capabilities.delayLatenessMs);
      await full(engine, "three", "n0");
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(world, lane, 3);
      await lane.commit({ settled: stored.map(({ position }) => position) });
      await append(engine, "orders", ...numbered(3, "n"));
    },
  },
  {
    name: "a full topic that evicts settles the oldest messages of its fullest partition for every group",
    rule: '`"evict"`: the oldest messages of the fullest partition are settled for every group until it fits.',
    needs: needsEviction,
    async run({ engine }) {
      const { world } = engine;
      await limited(engine, 6, { partitions: 2, groups: ["a", "b"], whenFull: "evict" });
      await engine.messages.append(batch("orders", numbered(5)));
      await engine.messages.append(batch("orders", ["p0"], { partition: 1 }));
      await engine.messages.append(batch("orders", ["p1", "p2"], { partition: 1 }));
      for (const group of ["a", "b"]) {
        const lag = (await engine.messages.describe("orders")).groups.find((each) => each.group === group)!.lanes;
        deepEqual(
          lag.map((each) => each.lag),
          [3, 3],
        );
        const member = await engine.messages.join("orders", group, {
          sessionMs: 10_000,
          revokeMs: 10_000,
          windowMax: 100,
        });
        for (const lane of [await member.nextLane(), await member.nextLane()]) {
          const expected = lane.partition === 0 ? ["m2", "m3", "m4"] : numbered(3, "p");
          deepEqual(await fetchedTexts(world, lane, 3), expected);
        }
      }
    },
  },
  {
    name: "messages that were fetched and then evicted are not fetched again, and settling them does nothing",
    rule: "Evicted messages are settled for every group; positions settled twice are ignored.",
    needs: needsEviction,
    async run({ engine }) {
      const { world } = engine;
      await limited(engine, 3, { whenFull: "evict" });
      await append(engine, "orders", ...numbered(3));
      const { lane, member } = await soleLane(engine, "orders");
      const stored = await fetched(world, lane, 3);
      await append(engine, "orders", "m3", "m4");
      deepEqual(await fetchedTexts(world, lane, 2), ["m3", "m4"]);
      const held = { position: stored[1]!.position, failures: 1, deliveries: 0, dueAt: 0 };
      await lane.commit({ settled: [stored[0]!.position], held: [held] });
      const description = await laneOf(engine, "orders");
      deepEqual([description.lag, description.held, description.low], [3, 0, stored[2]!.position]);
      await member.leave();
      const next = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(world, next.lane, 3), ["m2", "m3", "m4"]);
    },
  },
  {
    name: "a batch that can never fit is refused also by a topic that evicts",
    rule: "An append that would exceed `countMax` is refused, or older messages are evicted until it fits.",
    needs: needsEviction,
    async run({ engine }) {
      await limited(engine, 3, { whenFull: "evict" });
      await append(engine, "orders", ...numbered(2));
      await full(engine, "four where three may be kept", ...numbered(4, "n"));
      equal((await laneOf(engine, "orders")).lag, 2, "nothing was evicted for what was refused");
    },
  },
  {
    name: "a batch that is stored already is answered by a full topic",
    rule: "A sequence that is already stored is answered with its original positions.",
    needs: needsAll(needsCountLimit, needsSequences),
    async run({ engine }) {
      await limited(engine, 2);
      const repeated = batch("orders", numbered(2), { producer: { id: "p", epoch: 0, sequence: 0 } });
      const positions = await engine.messages.append(repeated);
      deepEqual(await engine.messages.append(repeated), positions);
      await full(engine, "a new one", "n0");
    },
  },
  {
    name: "a message whose id is stored already needs no room",
    rule: "A message whose id was stored in this topic is answered with the original position.",
    needs: needsAll(needsCountLimit, needsIds),
    async run({ engine }) {
      await limited(engine, 2);
      const message = { body: bytesOf("once"), id: "same" };
      const [position] = await append(engine, "orders", message);
      await append(engine, "orders", "m1");
      deepEqual(await append(engine, "orders", message), [position]);
      await full(engine, "a new one", "n0");
    },
  },
  {
    name: "a commit whose appends a full topic refuses settles nothing",
    rule: "Appends are stored in the same atomic change where `capabilities.atomic`.",
    needs: needsAll(needsCountLimit, needsAtomic),
    async run({ engine }) {
      await limited(engine, 1);
      await engine.messages.declare("source", { partitions: 1, groups: ["group"] });
      await append(engine, "orders", "m0");
      await append(engine, "source", "s0");
      const { lane } = await soleLane(engine, "source");
      const [stored] = await fetched(engine.world, lane, 1);
      const change = { settled: [stored!.position], appends: [batch("orders", ["copy"])] };
      await refused("overloaded", "a commit that appends to a full topic", () => lane.commit(change));
      equal((await laneOf(engine, "source")).lag, 1);
      await limited(engine, 2);
      await lane.commit(change);
      deepEqual([(await laneOf(engine, "source")).lag, (await laneOf(engine, "orders")).lag], [0, 2]);
    },
  },
  {
    name: "a commit may evict messages of its own lane for what it appends",
    rule: "Positions settled twice and entries held for settled positions are ignored.",
    needs: needsAll(needsEviction, needsAtomic),
    async run({ engine }) {
      await limited(engine, 3, { whenFull: "evict" });
      await append(engine, "orders", ...numbered(3));
      const { lane, member } = await soleLane(engine, "orders");
      const stored = await fetched(engine.world, lane, 3);
      const held = stored.slice(1).map(({ position }) => ({ position, failures: 1, deliveries: 0, dueAt: 0 }));
      const appends = [batch("orders", ["n0", "n1"])];
      await lane.commit({ settled: [stored[0]!.position, stored[1]!.position], held, appends });
      await member.leave();
      const next = await soleLane(engine, "orders");
      deepEqual(
        next.lane.held.map(({ position }) => position),
        [stored[2]!.position],
      );
      deepEqual(await fetchedTexts(engine.world, next.lane, 3), ["m2", "n0", "n1"]);
      await full(engine, "never more than three", ...numbered(4, "o"));
    },
  },
  {
    name: "a group that goes back needs room again, and gives it back when it goes forth",
    rule: `${rule} From the lowest unsettled one of the slowest group.`,
    needs: needsAll(needsCountLimit, needsReplay),
    async run({ engine }) {
      await limited(engine, 3, { retentionMs: 3_600_000 });
      await append(engine, "orders", ...numbered(3));
      await engine.messages.seek("orders", "group", "now");
      await append(engine, "orders", "n0");
      await engine.messages.seek("orders", "group", "earliest");
      await full(engine, "four where three may be kept", "n1");
      await engine.messages.seek("orders", "group", "now");
      await append(engine, "orders", ...numbered(3, "o"));
      await full(engine, "full again", "n1");
    },
  },
  {
    name: "what was evicted stays so across a crash, and what is kept is counted as before",
    rule: "An append that resolved is durable, with what was evicted for it.",
    needs: needsAll(needsEviction, needsCrash),
    async run(subject) {
      await limited(subject.engine, 5, { whenFull: "evict" });
      for (const text of numbered(12)) await append(subject.engine, "orders", text);
      await subject.crash!();
      const { engine } = subject;
      const { lag, low } = await laneOf(engine, "orders");
      equal(lag, 5);
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(engine.world, lane, 5);
      ok(stored[0]!.position === low);
      await limited(engine, 5, { whenFull: "refuse" });
      await full(engine, "five of five", "n0");
      await lane.commit({ settled: [stored[0]!.position] });
      await append(engine, "orders", "n0");
      await full(engine, "five of five again", "n1");
    },
  },
  {
    name: "a limit that the engine does not have is refused when it is declared",
    rule: '`countLimits`: "none" (declaring it is `unsupported`), refusal, or also eviction.',
    async run({ engine }) {
      const { countLimits } = engine.messages.capabilities;
      if (countLimits === "none") await refused("unsupported", "countMax", () => limited(engine, 5));
      else await limited(engine, 5);
      const evict = () => limited(engine, 5, { whenFull: "evict" });
      if (countLimits !== "evict") await refused("unsupported", "eviction", evict);
      else {
        await evict();
        equal((await engine.messages.describe("orders")).whenFull, "evict");
      }
    },
  },
];
