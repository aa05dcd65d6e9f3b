import { deepEqual, equal, ok } from "node:assert/strict";
import type { Lane, Membership } from "../../contracts/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { aborted, eventually, refused, rejectsWith, staysPending, within } from "../expectations.ts";
import {
  append,
  batch,
  declared,
  fetched,
  fetchedTexts,
  join,
  laneOf,
  lanes,
  needsFence,
  nextLane,
  numbered,
  soleLane,
} from "./fixtures.ts";

function partitionsOf(granted: readonly Lane[]): readonly number[] {
  return granted.map((lane) => lane.partition).sort((left, right) => left - right);
}

function waitingLane(member: Membership): { promise: Promise<Lane>; end(): Promise<void> } {
  const controller = new AbortController();
  const promise = member.nextLane({ signal: controller.signal });
  promise.catch(() => undefined);
  return {
    promise,
    async end() {
      controller.abort();
      await promise.catch(() => undefined);
    },
  };
}

export const grantCases: readonly MessageCase[] = [
  {
    name: "joining beyond what the engine declares is refused",
    rule: "The greatest `JoinOptions.windowMax`, the shortest `JoinOptions.sessionMs`: `invalid` beyond.",
    async run({ engine }) {
      await declared(engine);
      const { windowMax, sessionMsMin } = engine.messages.capabilities;
      await refused("invalid", "a larger window", () => join(engine, "orders", "group", { windowMax: windowMax + 1 }));
      const shorter = { sessionMs: sessionMsMin - 0.5 };
      await refused("invalid", "a shorter session", () => join(engine, "orders", "group", shorter));
      equal((await engine.messages.describe("orders")).groups[0]!.members, 0);
      const member = await join(engine, "orders", "group", { windowMax });
      equal((await nextLane(engine.world, member)).partition, 0);
    },
  },
  {
    name: "a sole member gets every lane, each under its names",
    rule: "One member at a time owns a lane.",
    async run({ engine }) {
      await declared(engine, { partitions: 4 });
      const member = await join(engine, "orders");
      const granted = await lanes(engine.world, member, 4);
      deepEqual(partitionsOf(granted), [0, 1, 2, 3]);
      for (const lane of granted) {
        deepEqual([lane.topic, lane.group], ["orders", "group"]);
        deepEqual([lane.revoked.aborted, lane.lost.aborted], [false, false]);
      }
      const waiting = waitingLane(member);
      await staysPending(engine.world, "a fifth lane of four", waiting.promise);
      await waiting.end();
    },
  },
  {
    name: "a second member takes half of the lanes and no others move",
    rule: "Lanes are spread evenly over the members, moving as few as possible.",
    async run({ engine }) {
      const { world } = engine;
      await declared(engine, { partitions: 8 });
      const first = await join(engine, "orders");
      const before = await lanes(world, first, 8);
      const second = await join(engine, "orders");
      const granting = lanes(world, second, 4);
      granting.catch(() => undefined);
      const released = new Set<Lane>();
      await eventually(world, "four lanes are asked back", async () => {
        for (const lane of before.filter((each) => each.revoked.aborted && !released.has(each))) {
          released.add(lane);
          await lane.release();
        }
        return released.size >= 4;
      });
      const after = await granting;
      deepEqual(partitionsOf(after), partitionsOf([...released]));
      equal(before.filter((lane) => lane.revoked.aborted).length, 4, "no more are asked for than must move");
      equal(before.filter((lane) => lane.lost.aborted && !released.has(lane)).length, 0);
      equal((await engine.messages.describe("orders")).groups[0]!.members, 2);
    },
  },
  {
    name: "a member that leaves hands its lanes to those that stay",
    rule: "`leave` releases every lane and leaves the group.",
    async run({ engine }) {
      const { world } = engine;
      await declared(engine, { partitions: 2 });
      const first = await join(engine, "orders");
      const before = await lanes(world, first, 2);
      const second = await join(engine, "orders");
      await Promise.race(before.map((lane) => aborted(world, "one is revoked", lane.revoked)));
      const moved = before.find((lane) => lane.revoked.aborted)!;
      await moved.release();
      deepEqual((await nextLane(world, second)).partition, moved.partition);
      await first.leave();
      const inherited = await nextLane(world, second);
      deepEqual(partitionsOf([moved, inherited]), [0, 1]);
      equal((await engine.messages.describe("orders")).groups[0]!.members, 1);
    },
  },
  {
    name: "members beyond the number of lanes wait until one is free",
    rule: "One member at a time owns a lane; the rest idle.",
    async run({ engine }) {
      await declared(engine);
      const first = await soleLane(engine, "orders");
      const second = await join(engine, "orders");
      const waiting = second.nextLane();
      await staysPending(engine.world, "a second owner of the only lane", waiting);
      ok(!first.lane.revoked.aborted);
      await first.member.leave();
      equal((await within(engine.world, "the lane", waiting)).partition, 0);
    },
  },
  {
    name: "groups do not share lanes",
    rule: "A lane is one (topic, group, partition).",
    async run({ engine }) {
      await declared(engine, { groups: ["billing", "shipping"] });
      const billing = await soleLane(engine, "orders", "billing");
      const shipping = await soleLane(engine, "orders", "shipping");
      deepEqual([billing.lane.group, shipping.lane.group], ["billing", "shipping"]);
      deepEqual([billing.lane.revoked.aborted, shipping.lane.revoked.aborted], [false, false]);
    },
  },
  {
    name: "the fence of a lane grows with every grant",
    rule: "The grant's number: greater than that of every earlier grant of this lane.",
    async run({ engine }) {
      await declared(engine);
      let last = -1n;
      for (let round = 0; round < 5; round++) {
        const { lane, member } = await soleLane(engine, "orders");
        ok(lane.fence > last, `fence ${lane.fence} after ${last}`);
        last = lane.fence;
        await (round % 2 === 0 ? member.leave() : lane.release().then(() => member.leave()));
      }
    },
  },
  {
    name: "a lane that was released in time leaves nothing suspect",
    rule: "`suspectBelow`: 0n after an orderly release.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", ...numbered(3));
      const first = await soleLane(engine, "orders");
      equal(first.lane.suspectBelow, 0n);
      await fetched(engine.world, first.lane, 3);
      const second = await join(engine, "orders");
      await first.member.leave();
      const lane = await nextLane(engine.world, second);
      equal(lane.suspectBelow, 0n);
    },
  },
  {
    name: "a lane that is not released within revokeMs is lost, and its owner can commit nothing more",
    rule: "A commit under a superseded grant is refused (`lost`): then nothing of it happened.",
    needs: needsFence,
    async run({ engine, exactTime }) {
      const { world } = engine;
      await declared(engine, { partitions: 2 });
      await declared(engine, { topic: "invoices" });
      for (const partition of [0, 1]) await engine.messages.append(batch("orders", ["a", "b"], { partition }));
      const zombie = await join(engine, "orders", "group", { revokeMs: 500 });
      const before = await lanes(world, zombie, 2);
      const positions = new Map<Lane, readonly bigint[]>();
      for (const lane of before) {
        positions.set(
          lane,
          (await fetched(world, lane, 2)).map((message) => message.position),
        );
      }
      const successor = await join(engine, "orders");
      const lane = await nextLane(world, successor);
      const lost = before.find((each) => each.partition === lane.partition)!;
      await aborted(world, "the lane is lost to its owner", lost.lost);
      // An owner on a busy machine may hear of both at once.
      if (exactTime) ok(lost.revoked.aborted, "it was asked for before");
      ok(lane.fence > lost.fence);
      const settled = positions.get(lost)!;
      const error = await refused("lost", "the zombie's commit", () =>
        lost.commit({
          settled,
          held: [{ position: settled[0]!, failures: 5, deliveries: 0, dueAt: 0 }],
          appends: [batch("invoices", ["from a zombie"])],
        }),
      );
      equal(error.outcome, "not-applied");
      await refused("lost", "the zombie's fetch", () => lost.fetch(1));
      await lost.release();
      ok(lane.suspectBelow > settled.at(-1)!, "what the zombie fetched is suspect");
      deepEqual(lane.held, []);
      deepEqual(await fetchedTexts(world, lane, 2), ["a", "b"]);
      const { groups } = await engine.messages.describe("orders");
      deepEqual(
        groups[0]!.lanes.map((each) => [each.lag, each.held]),
        [
          [2, 0],
          [2, 0],
        ],
      );
      equal((await laneOf(engine, "invoices")).lag, 0);
      ok(!before.find((each) => each !== lost)!.lost.aborted, "its other lane stays its own");
    },
  },
  {
    name: "an owner may finish and commit while its lane is asked back",
    rule: "`revoked` aborts when the engine asks for the lane back: finish what runs, commit, `release`, within `revokeMs`.",
    async run({ engine }) {
      const { world } = engine;
      await declared(engine, { partitions: 2 });
      for (const partition of [0, 1]) await engine.messages.append(batch("orders", ["a", "b"], { partition }));
      const first = await join(engine, "orders");
      const before = await lanes(world, first, 2);
      const second = await join(engine, "orders");
      await Promise.race(before.map((lane) => aborted(world, "one is revoked", lane.revoked)));
      const moving = before.find((lane) => lane.revoked.aborted)!;
      const nobody = waitingLane(second);
      await staysPending(world, "the lane before it is released", nobody.promise);
      await nobody.end();
      const other = before.find((lane) => lane !== moving)!;
      const [message] = await fetched(world, other, 1);
      await moving.commit({
        settled: [(await engine.messages.describe("orders")).partitions[moving.partition]!.first],
      });
      await other.commit({ settled: [message!.position] });
      await moving.release();
      const lane = await nextLane(world, second);
      equal(lane.partition, moving.partition);
      deepEqual(await fetchedTexts(world, lane, 1), ["b"]);
    },
  },
  {
    name: "a released lane can commit nothing more",
    rule: "`release` gives the lane back; what is not settled will be fetched by the next owner.",
    async run({ engine }) {
      await declared(engine);
      const [position] = (await append(engine, "orders", "m")) as bigint[];
      const { lane, member } = await soleLane(engine, "orders");
      await fetched(engine.world, lane, 1);
      await lane.release();
      await lane.release();
      await refused(["lost", "closed"], "a commit after the release", () => lane.commit({ settled: [position!] }));
      await refused(["lost", "closed"], "a fetch after the release", () => lane.fetch(1));
      await member.leave();
      const next = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, next.lane, 1), ["m"]);
    },
  },
  {
    name: "a fetch that waits ends with `lost` when the lane is taken",
    rule: "Rejects with `lost` when the lane is lost.",
    needs: needsFence,
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      const first = await join(engine, "orders", "group", { revokeMs: 20 });
      const before = await lanes(engine.world, first, 2);
      const fetches = before.map((lane) => refused("lost", "the waiting fetch", () => lane.fetch(1)));
      for (const fetch of fetches) fetch.catch(() => undefined);
      const second = await join(engine, "orders");
      await nextLane(engine.world, second);
      await within(engine.world, "one of the two fetches ends", Promise.race(fetches));
    },
  },
  {
    name: "leaving is idempotent; whoever left gets no lane",
    rule: "`nextLane` rejects with `closed` after `leave`.",
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      const member = await join(engine, "orders");
      await lanes(engine.world, member, 2);
      const waiting = refused("closed", "a waiting nextLane", () => member.nextLane());
      waiting.catch(() => undefined);
      await member.leave();
      await member.leave();
      await within(engine.world, "the waiting nextLane ends", waiting);
      await refused("closed", "a later nextLane", () => member.nextLane());
    },
  },
  {
    name: "a membership that is abandoned passes its lanes on, and what it fetched is suspect",
    rule: "`abandon` ends the membership as if its member had vanished: its lanes are lost, and what was fetched is suspect for those who follow.",
    async run({ engine }) {
      const { world } = engine;
      await declared(engine);
      await append(engine, "orders", ...numbered(3));
      const { member, lane } = await soleLane(engine, "orders");
      // It is for those who hold memberships for others; an engine need not have it.
      if (member.abandon === undefined) return;
      const stored = await fetched(world, lane, 2);
      await lane.commit({ settled: [stored[0]!.position] });
      await member.abandon();
      await member.abandon();
      await refused("lost", "a commit of whoever was abandoned", () => lane.commit({ settled: [stored[1]!.position] }));
      await refused("closed", "a later nextLane", () => member.nextLane());
      const next = await soleLane(engine, "orders");
      ok(next.lane.fence > lane.fence);
      ok(next.lane.suspectBelow > stored[1]!.position, "all that was fetched is suspect");
      deepEqual(await fetchedTexts(world, next.lane, 2), ["m1", "m2"]);
      equal((await engine.messages.describe("orders")).groups[0]!.members, 1);
    },
  },
  {
    name: "waiting for a lane can be aborted, and asked for again",
    rule: "Rejects with the signal's reason when it aborts.",
    async run({ engine }) {
      await declared(engine);
      const owner = await soleLane(engine, "orders");
      const member = await join(engine, "orders");
      const reason = new Error("enough");
      const controller = new AbortController();
      const waiting = member.nextLane({ signal: controller.signal });
      controller.abort(reason);
      await rejectsWith(reason, "nextLane", within(engine.world, "the abort", waiting));
      await rejectsWith(reason, "nextLane with an aborted signal", member.nextLane({ signal: controller.signal }));
      await owner.member.leave();
      equal((await nextLane(engine.world, member)).partition, 0);
    },
  },
  {
    name: "waiting for messages can be aborted, and no message is lost by it",
    rule: "Rejects with the signal's reason on abort.",
    async run({ engine }) {
      await declared(engine);
      const { lane } = await soleLane(engine, "orders");
      const reason = new Error("enough");
      const texts: string[] = [];
      for (let round = 0; round < 20; round++) {
        const controller = new AbortController();
        const waiting = lane.fetch(10, { signal: controller.signal });
        controller.abort(reason);
        await rejectsWith(reason, "fetch", within(engine.world, "the abort", waiting));
        await append(engine, "orders", `m${round}`);
        texts.push(...(await fetchedTexts(engine.world, lane, 1)));
      }
      await append(engine, "orders", "waits");
      const aborting = AbortSignal.abort(reason);
      await rejectsWith(reason, "fetch with an aborted signal", lane.fetch(10, { signal: aborting }));
      texts.push(...(await fetchedTexts(engine.world, lane, 1)));
      deepEqual(texts, [...numbered(20), "waits"]);
    },
  },
];
