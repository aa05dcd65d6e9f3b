import { deepEqual, equal, ok } from "node:assert/strict";
import type { MessageCase } from "../conformance-case.ts";
import { refused } from "../expectations.ts";
import {
  append,
  batch,
  declared,
  fetched,
  fetchedTexts,
  laneOf,
  needsAll,
  needsCrash,
  needsFence,
  numbered,
  soleLane,
} from "./fixtures.ts";

export const crashCases: readonly MessageCase[] = [
  {
    name: "what was acknowledged survives a crash: topics, groups, messages",
    rule: "`append` and `declare` are durable, as `capabilities.survives` says, when they resolve.",
    needs: needsCrash,
    async run(subject) {
      await declared(subject.engine, { groups: ["a", "b"] });
      await subject.engine.messages.declare("empty", { partitions: 3, groups: ["c"] });
      await append(subject.engine, "orders", ...numbered(5));
      await Promise.all(numbered(50, "n").map((text) => append(subject.engine, "orders", text)));
      await subject.crash!();
      const { engine } = subject;
      deepEqual(await engine.messages.topics(), ["empty", "orders"]);
      const empty = await engine.messages.describe("empty");
      deepEqual([empty.partitions.length, empty.groups.map((each) => each.group)], [3, ["c"]]);
      for (const group of ["a", "b"]) {
        const { lane } = await soleLane(engine, "orders", group);
        deepEqual(await fetchedTexts(engine.world, lane, 55), [...numbered(5), ...numbered(50, "n")]);
      }
      await refused("conflict", "another partition count", () => engine.messages.declare("empty", { partitions: 2 }));
    },
  },
  {
    name: "what was settled or held stays so across a crash",
    rule: "Settling resolves when the change survives what `capabilities.survives` says.",
    needs: needsCrash,
    async run(subject) {
      const { world } = subject.engine;
      await declared(subject.engine);
      await append(subject.engine, "orders", ...numbered(6));
      const first = await soleLane(subject.engine, "orders");
      const stored = await fetched(world, first.lane, 6);
      const held = { position: stored[3]!.position, failures: 2, deliveries: 1, dueAt: world.clock.now() + 1 };
      await first.lane.commit({ settled: [stored[0]!.position, stored[4]!.position] });
      await first.lane.commit({ settled: [stored[1]!.position], held: [held] });
      await subject.crash!();
      const { engine } = subject;
      const description = await laneOf(engine, "orders");
      deepEqual([description.lag, description.held, description.low], [3, 1, stored[2]!.position]);
      const second = await soleLane(engine, "orders");
      deepEqual(second.lane.held, [held]);
      deepEqual(await fetchedTexts(engine.world, second.lane, 3), ["m2", "m3", "m5"]);
    },
  },
  {
    name: "a commit of progress and appends survives a crash as a whole",
    rule: "Stored in the same atomic change where `capabilities.atomic`.",
    needs: needsAll(
      needsCrash,
      ({ engine }) => engine.messages.capabilities.atomic || "the engine declares no atomicity",
    ),
    async run(subject) {
      await declared(subject.engine);
      await declared(subject.engine, { topic: "invoices" });
      for (let round = 0; round < 5; round++) {
        await append(subject.engine, "orders", `order ${round}`);
        const { lane } = await soleLane(subject.engine, "orders");
        const [message] = await fetched(subject.engine.world, lane, 1);
        const change = { settled: [message!.position], appends: [batch("invoices", [`invoice ${round}`])] };
        // In odd rounds the process dies with the commit under way.
        if (round % 2 === 0) await lane.commit(change);
        else lane.commit(change).catch(() => undefined);
        await subject.crash!();
        const lag = (await laneOf(subject.engine, "orders")).lag;
        const invoices = (await laneOf(subject.engine, "invoices")).lag;
        equal(lag + invoices, round + 1, `${lag} orders wait and ${invoices} invoices are there after ${round + 1}`);
        if (round % 2 === 0) equal(lag, 0, "an acknowledged commit is there");
        else if (lag === 1) {
          const again = await soleLane(subject.engine, "orders");
          const [left] = await fetched(subject.engine.world, again.lane, 1);
          await again.lane.commit({ settled: [left!.position], appends: change.appends });
          await again.member.leave();
        }
      }
    },
  },
  {
    name: "a batch that a crash cut off is there as a whole or not at all",
    rule: "Stores messages of one partition, in order, all or nothing.",
    needs: needsCrash,
    async run(subject) {
      await declared(subject.engine);
      let expected = 0;
      for (let round = 0; round < 5; round++) {
        append(subject.engine, "orders", ...numbered(40)).catch(() => undefined);
        append(subject.engine, "orders", ...numbered(40)).catch(() => undefined);
        for (let turn = 0; turn < round; turn++) await subject.engine.messages.topics();
        await subject.crash!();
        const { lag } = await laneOf(subject.engine, "orders");
        const grown = lag - expected;
        ok([0, 40, 80].includes(grown), `${grown} of two batches of 40 are there`);
        expected = lag;
      }
      const { lane } = await soleLane(subject.engine, "orders");
      const texts = expected === 0 ? [] : await fetchedTexts(subject.engine.world, lane, expected);
      deepEqual(texts, Array.from({ length: expected / 40 }, () => numbered(40)).flat());
    },
  },
  {
    name: "after a crash a lane starts with every unsettled message in order, and what was fetched is suspect",
    rule: "Messages below `suspectBelow` may have been in the hands of an owner that vanished without releasing the lane.",
    needs: needsAll(
      needsCrash,
      ({ engine }) => engine.messages.capabilities.orderAfterCrash || "the engine declares no order after a crash",
    ),
    async run(subject) {
      await declared(subject.engine);
      await append(subject.engine, "orders", ...numbered(10));
      const first = await soleLane(subject.engine, "orders");
      const stored = await fetched(subject.engine.world, first.lane, 4);
      await first.lane.commit({ settled: [stored[1]!.position] });
      await subject.crash!();
      const { engine } = subject;
      const second = await soleLane(engine, "orders");
      ok(second.lane.suspectBelow > stored[3]!.position, "all that was fetched is suspect");
      const texts = await fetchedTexts(engine.world, second.lane, 9);
      deepEqual(
        texts,
        numbered(10).filter((text) => text !== "m1"),
      );
      await second.member.leave();
      const third = await soleLane(engine, "orders");
      equal(third.lane.suspectBelow, 0n, "an orderly release clears the suspicion");
    },
  },
  {
    name: "the fence of a lane grows across crashes",
    rule: "Greater than that of every earlier grant of this lane, also across restarts.",
    needs: needsAll(needsCrash, needsFence),
    async run(subject) {
      await declared(subject.engine);
      let last = -1n;
      for (let round = 0; round < 4; round++) {
        const first = await soleLane(subject.engine, "orders");
        ok(first.lane.fence > last, `fence ${first.lane.fence} after ${last}`);
        await first.member.leave();
        const second = await soleLane(subject.engine, "orders");
        ok(second.lane.fence > first.lane.fence);
        last = second.lane.fence;
        await subject.crash!();
      }
    },
  },
  {
    name: "positions go on growing after a crash",
    rule: "Answers positions in stored order.",
    needs: needsCrash,
    async run(subject) {
      await declared(subject.engine);
      let last = -1n;
      for (let round = 0; round < 3; round++) {
        const positions = (await append(subject.engine, "orders", ...numbered(3))) as bigint[];
        ok(positions[0]! > last);
        last = positions[2]!;
        await subject.crash!();
        ok((await subject.engine.messages.describe("orders")).partitions[0]!.next > last);
      }
    },
  },
  {
    name: "the position of a group survives a seek and a crash",
    rule: "Sets the group's positions; durable when it resolves.",
    needs: needsAll(needsCrash, ({ engine }) => engine.messages.capabilities.replay || "the engine declares no replay"),
    async run(subject) {
      await declared(subject.engine);
      const positions = (await append(subject.engine, "orders", ...numbered(4))) as bigint[];
      await subject.engine.messages.seek("orders", "group", { positions: new Map([[0, positions[3]!]]) });
      await subject.crash!();
      equal((await laneOf(subject.engine, "orders")).lag, 1);
      const { lane } = await soleLane(subject.engine, "orders");
      deepEqual(await fetchedTexts(subject.engine.world, lane, 1), ["m3"]);
    },
  },
];
