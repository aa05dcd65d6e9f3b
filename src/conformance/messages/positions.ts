import { deepEqual, equal, ok } from "node:assert/strict";
import type { MessageCase } from "../conformance-case.ts";
import { aborted, refused } from "../expectations.ts";
import {
  append,
  declared,
  fetched,
  fetchedTexts,
  join,
  joinDefaults,
  laneOf,
  needsAll,
  needsFence,
  needsReplay,
  nextLane,
  numbered,
  soleLane,
} from "./fixtures.ts";

export const positionCases: readonly MessageCase[] = [
  {
    name: "a new group may start from the earliest message that is kept",
    rule: '`from: "earliest"` or an instant needs `replay`.',
    needs: needsReplay,
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", ...numbered(3));
      const { lane, member } = await soleLane(engine, "orders", "audit", { from: "earliest" });
      deepEqual(await fetchedTexts(engine.world, lane, 3), numbered(3));
      equal((await laneOf(engine, "orders", "audit")).lag, 3);
      await lane.commit({ settled: [(await engine.messages.describe("orders")).partitions[0]!.first] });
      await member.leave();
      const again = await soleLane(engine, "orders", "audit", { from: "earliest" });
      deepEqual(await fetchedTexts(engine.world, again.lane, 2), ["m1", "m2"], "`from` is for a new group only");
    },
  },
  {
    name: "a new group may start from an instant",
    rule: "`at`: the first message stored at or after this instant.",
    needs: needsReplay,
    async run({ engine }) {
      const { world } = engine;
      await declared(engine);
      await append(engine, "orders", "a");
      await world.timers.sleep(20);
      await append(engine, "orders", "b");
      await world.timers.sleep(20);
      await append(engine, "orders", "c");
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(world, lane, 3);
      ok(stored[1]!.publishedAt > stored[0]!.publishedAt && stored[2]!.publishedAt > stored[1]!.publishedAt);
      const exactly = await soleLane(engine, "orders", "exactly", { from: { at: stored[1]!.publishedAt } });
      deepEqual(await fetchedTexts(world, exactly.lane, 2), ["b", "c"]);
      const after = await soleLane(engine, "orders", "after", { from: { at: stored[1]!.publishedAt + 1 } });
      deepEqual(await fetchedTexts(world, after.lane, 1), ["c"]);
      const before = await soleLane(engine, "orders", "before", { from: { at: 0 } });
      deepEqual(await fetchedTexts(world, before.lane, 3), ["a", "b", "c"]);
    },
  },
  {
    name: "seeking to the earliest, to now, and to positions moves the group",
    rule: "Sets the group's positions.",
    needs: needsReplay,
    async run({ engine }) {
      const { messages, world } = engine;
      await declared(engine, { retentionMs: 3_600_000 });
      const positions = (await append(engine, "orders", ...numbered(4))) as bigint[];
      const first = await soleLane(engine, "orders");
      await fetched(world, first.lane, 4);
      await first.lane.commit({ settled: positions });
      await first.member.leave();
      equal((await laneOf(engine, "orders")).lag, 0);

      await messages.seek("orders", "group", "earliest");
      equal((await laneOf(engine, "orders")).lag, 4);
      const second = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(world, second.lane, 4), numbered(4));
      await second.member.leave();

      await messages.seek("orders", "group", { positions: new Map([[0, positions[2]!]]) });
      const third = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(world, third.lane, 2), ["m2", "m3"]);
      await third.member.leave();

      await messages.seek("orders", "group", "now");
      equal((await laneOf(engine, "orders")).lag, 0);
      await append(engine, "orders", "new");
      const fourth = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(world, fourth.lane, 1), ["new"]);
    },
  },
  {
    name: "seeking back delivers what was settled out of order as well",
    rule: "Sets the group's positions: everything from there on is unsettled again.",
    needs: needsReplay,
    async run({ engine }) {
      await declared(engine);
      const positions = (await append(engine, "orders", ...numbered(5))) as bigint[];
      const first = await soleLane(engine, "orders");
      await fetched(engine.world, first.lane, 5);
      await first.lane.commit({ settled: [positions[1]!, positions[3]!, positions[4]!] });
      await first.member.leave();
      await engine.messages.seek("orders", "group", "earliest");
      const second = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, second.lane, 5), numbered(5));
    },
  },
  {
    name: "partitions that a seek does not name stay where they are",
    rule: "`positions`: by partition; partitions left out stay.",
    needs: needsReplay,
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      for (const partition of [0, 1]) {
        await engine.messages.append({ topic: "orders", partition, messages: [{ body: new Uint8Array(1) }] });
      }
      const { partitions } = await engine.messages.describe("orders");
      await engine.messages.seek("orders", "group", { positions: new Map([[1, partitions[1]!.next]]) });
      const { groups } = await engine.messages.describe("orders");
      deepEqual(
        groups[0]!.lanes.map((lane) => lane.lag),
        [1, 0],
      );
    },
  },
  {
    name: "a seek takes the lane from its owner, grants it anew and forgets what was held",
    rule: "Every lane of the group that is owned is lost to its owner and granted anew. Held entries are forgotten.",
    needs: needsAll(needsReplay, needsFence),
    async run({ engine }) {
      const { messages, world } = engine;
      await declared(engine);
      const [position] = (await append(engine, "orders", "m")) as bigint[];
      const { lane, member } = await soleLane(engine, "orders");
      await fetched(world, lane, 1);
      await lane.commit({ settled: [], held: [{ position: position!, failures: 3, deliveries: 0, dueAt: 0 }] });
      await messages.seek("orders", "group", "earliest");
      await aborted(world, "the lane is lost", lane.lost);
      await refused("lost", "the former grant's commit", () => lane.commit({ settled: [position!] }));
      const next = await nextLane(world, member);
      ok(next.fence > lane.fence);
      deepEqual(next.held, []);
      deepEqual(await fetchedTexts(world, next, 1), ["m"]);
    },
  },
  {
    name: "seeking a group or topic that is not there is not found",
    rule: "`not-found`: the thing named does not exist.",
    needs: needsReplay,
    async run({ engine }) {
      await refused("not-found", "a topic that is not there", () => engine.messages.seek("nowhere", "group", "now"));
      await declared(engine);
      await refused("not-found", "a group that is not there", () => engine.messages.seek("orders", "nobody", "now"));
    },
  },
  {
    name: "an engine without replay refuses to go back",
    rule: "`unsupported` where `capabilities.replay` is false.",
    needs: ({ engine }) => !engine.messages.capabilities.replay || "the engine declares replay",
    async run({ engine }) {
      await declared(engine);
      await refused("unsupported", "seek", () => engine.messages.seek("orders", "group", "earliest"));
      for (const from of ["earliest", { at: 0 }] as const) {
        await refused("unsupported", "join from the past", () =>
          engine.messages.join("orders", "new", { ...joinDefaults, from }),
        );
      }
      await join(engine, "orders", "new", { from: "now" });
    },
  },
];
