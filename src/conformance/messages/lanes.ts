import { deepEqual, equal, ok } from "node:assert/strict";
import type { Held } from "../../contracts/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { bytesOf, refused, staysPending, textOf, within } from "../expectations.ts";
import {
  append,
  batch,
  declared,
  fetched,
  fetchedTexts,
  laneOf,
  needsAll,
  needsAtomic,
  needsSequences,
  numbered,
  soleLane,
  waitingFetch,
} from "./fixtures.ts";

function held(position: bigint, more: Partial<Held> = {}): Held {
  return { position, failures: 0, deliveries: 0, dueAt: 0, ...more };
}

export const laneCases: readonly MessageCase[] = [
  {
    name: "two groups each receive every message, whatever the other settles",
    rule: "A group receives every message once per group.",
    async run({ engine }) {
      await declared(engine, { groups: ["billing", "shipping"] });
      await append(engine, "orders", "a", "b", "c");
      const billing = await soleLane(engine, "orders", "billing");
      const stored = await fetched(engine.world, billing.lane, 3);
      await billing.lane.commit({ settled: stored.map((message) => message.position) });
      const shipping = await soleLane(engine, "orders", "shipping");
      deepEqual(await fetchedTexts(engine.world, shipping.lane, 3), ["a", "b", "c"]);
      equal((await laneOf(engine, "orders", "billing")).lag, 0);
      equal((await laneOf(engine, "orders", "shipping")).lag, 3);
    },
  },
  {
    name: "a fetch answers at most its limit, in stored order, each message once",
    rule: "The next messages in stored order; each is fetched once per grant.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", ...numbered(10));
      const { lane } = await soleLane(engine, "orders");
      const texts: string[] = [];
      while (texts.length < 10) {
        const some = await within(engine.world, "messages", lane.fetch(3));
        ok(some.length >= 1 && some.length <= 3, `a fetch of 3 answered ${some.length}`);
        texts.push(...some.map((message) => textOf(message.body)));
      }
      deepEqual(texts, numbered(10));
      const waiting = waitingFetch(lane);
      await staysPending(engine.world, "a fetch when all was fetched", waiting.promise);
      await waiting.end();
    },
  },
  {
    name: "a fetch waits until there is a message",
    rule: "Waits until there is at least one.",
    async run({ engine }) {
      await declared(engine);
      const { lane } = await soleLane(engine, "orders");
      const waiting = lane.fetch(10);
      await staysPending(engine.world, "a fetch of an empty lane", waiting);
      await append(engine, "orders", "at last");
      const stored = await within(engine.world, "the message", waiting);
      deepEqual(
        stored.map((message) => textOf(message.body)),
        ["at last"],
      );
    },
  },
  {
    name: "a new grant starts with every unsettled message in stored order, then new ones",
    rule: "A new grant starts with every unsettled message in stored order.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", ...numbered(6));
      const first = await soleLane(engine, "orders");
      const stored = await fetched(engine.world, first.lane, 6);
      await first.lane.commit({
        settled: [1, 3, 4].map((index) => stored[index]!.position),
        held: [held(stored[2]!.position, { failures: 1 })],
      });
      await first.member.leave();
      await append(engine, "orders", "new");
      const second = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, second.lane, 4), ["m0", "m2", "m5", "new"]);
      const waiting = waitingFetch(second.lane);
      await staysPending(engine.world, "nothing else is there", waiting.promise);
      await waiting.end();
    },
  },
  {
    name: "the position belongs to the group: the next member goes on where the former one stopped",
    rule: "The position belongs to the group, never to a member.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", ...numbered(9));
      const seen: string[] = [];
      for (let round = 0; round < 3; round++) {
        const { lane, member } = await soleLane(engine, "orders");
        const stored = await fetched(engine.world, lane, 3);
        await lane.commit({ settled: stored.map((message) => message.position) });
        seen.push(...stored.map((message) => textOf(message.body)));
        await member.leave();
      }
      deepEqual(seen, numbered(9));
      const lane = await laneOf(engine, "orders");
      deepEqual([lane.lag, lane.oldestPublishedAt], [0, undefined]);
    },
  },
  {
    name: "`low` follows the lowest unsettled message, in whatever order messages settle",
    rule: "`low`: everything below is settled.",
    async run({ engine }) {
      await declared(engine);
      const positions = (await append(engine, "orders", ...numbered(4))) as bigint[];
      const { lane } = await soleLane(engine, "orders");
      await fetched(engine.world, lane, 4);
      const [p0, p1, p2, p3] = positions;
      for (const { settle, low, lag } of [
        { settle: p2!, low: p0!, lag: 3 },
        { settle: p1!, low: p0!, lag: 2 },
        { settle: p0!, low: p3!, lag: 1 },
      ]) {
        await lane.commit({ settled: [settle] });
        const description = await laneOf(engine, "orders");
        deepEqual([description.low, description.lag], [low, lag]);
      }
      await lane.commit({ settled: [p3!] });
      const done = await laneOf(engine, "orders");
      ok(done.low > p3!);
      equal(done.lag, 0);
    },
  },
  {
    name: "held entries reach the next owner in stored order, as they were last recorded",
    rule: "Held: what is remembered of an unsettled message; replaces what was recorded for the same positions.",
    async run({ engine }) {
      await declared(engine);
      const { world } = engine;
      const [p0, p1, p2, p3] = (await append(engine, "orders", ...numbered(4))) as bigint[];
      const first = await soleLane(engine, "orders");
      deepEqual(first.lane.held, []);
      await fetched(world, first.lane, 4);
      const dueAt = world.clock.now() + 60_000;
      await first.lane.commit({ settled: [], held: [held(p2!, { failures: 1 }), held(p1!, { deliveries: 2 })] });
      await first.lane.commit({ settled: [p3!], held: [held(p2!, { failures: 7, deliveries: 1, dueAt })] });
      equal((await laneOf(engine, "orders")).held, 2);
      await first.member.leave();
      const second = await soleLane(engine, "orders");
      deepEqual(
        second.lane.held.map((each) => ({ ...each })),
        [held(p1!, { deliveries: 2 }), held(p2!, { failures: 7, deliveries: 1, dueAt })],
      );
      const texts = await fetchedTexts(world, second.lane, 3);
      deepEqual(texts, ["m0", "m1", "m2"], "held messages are fetched like the others, whenever they are due");
      await second.lane.commit({ settled: [p0!, p1!, p2!] });
      await second.member.leave();
      const third = await soleLane(engine, "orders");
      deepEqual(third.lane.held, [], "settled entries are forgotten");
    },
  },
  {
    name: "settling twice, or holding what is settled, changes nothing",
    rule: "Positions settled twice and entries held for settled positions are ignored.",
    async run({ engine }) {
      await declared(engine);
      const [p0, p1, p2] = (await append(engine, "orders", ...numbered(3))) as bigint[];
      const { lane, member } = await soleLane(engine, "orders");
      await fetched(engine.world, lane, 3);
      await lane.commit({ settled: [p0!, p2!] });
      await lane.commit({ settled: [p2!, p0!], held: [held(p2!, { failures: 3 }), held(p0!, { failures: 3 })] });
      const description = await laneOf(engine, "orders");
      deepEqual([description.lag, description.held, description.low], [1, 0, p1]);
      await member.leave();
      const next = await soleLane(engine, "orders");
      deepEqual(next.lane.held, []);
      deepEqual(await fetchedTexts(engine.world, next.lane, 1), ["m1"]);
    },
  },
  {
    name: "commits that are under way together take effect in the order of the calls",
    rule: "Several commits may be under way; they take effect in the order of the calls.",
    async run({ engine }) {
      await declared(engine);
      const [p0] = (await append(engine, "orders", "m0")) as bigint[];
      const { lane, member } = await soleLane(engine, "orders");
      await fetched(engine.world, lane, 1);
      await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          lane.commit({ settled: [], held: [held(p0!, { failures: index + 1 })] }),
        ),
      );
      await member.leave();
      const next = await soleLane(engine, "orders");
      deepEqual(next.lane.held, [held(p0!, { failures: 50 })]);
    },
  },
  {
    name: "fetching runs concurrently with committing",
    rule: "`fetch` may run concurrently with `commit`.",
    async run({ engine }) {
      await declared(engine);
      const { lane } = await soleLane(engine, "orders");
      const commits: Promise<void>[] = [];
      const publishing = Promise.all(numbered(300).map((text) => append(engine, "orders", text)));
      const texts: string[] = [];
      while (texts.length < 300) {
        const some = await within(engine.world, "messages", lane.fetch(16));
        texts.push(...some.map((message) => textOf(message.body)));
        commits.push(lane.commit({ settled: some.map((message) => message.position) }));
      }
      await Promise.all([...commits, publishing]);
      deepEqual(texts, numbered(300));
      equal((await laneOf(engine, "orders")).lag, 0);
    },
  },
  {
    name: "a fetch never goes windowMax messages beyond the lowest unsettled one, and goes on when that settles",
    rule: "Never goes `windowMax` or more beyond the lowest unsettled message: then it waits for a commit.",
    async run({ engine }) {
      const { world } = engine;
      await declared(engine);
      await append(engine, "orders", ...numbered(30));
      const { lane } = await soleLane(engine, "orders", "group", { windowMax: 10 });
      const stored = await fetched(world, lane, 10);
      const beyond = lane.fetch(100);
      await staysPending(world, "a fetch at the window's end", beyond);
      await lane.commit({ settled: stored.slice(1).map((message) => message.position) });
      await staysPending(world, "a fetch while the lowest message is unsettled", beyond);
      await lane.commit({ settled: [stored[0]!.position] });
      const more = [...(await within(world, "the window has moved", beyond))];
      while (more.length < 10) more.push(...(await fetched(world, lane, 10 - more.length)));
      deepEqual(
        more.map((message) => textOf(message.body)),
        numbered(20).slice(10),
      );
      const waiting = waitingFetch(lane);
      await staysPending(world, "a fetch at the new window's end", waiting.promise);
      await waiting.end();
    },
  },
  {
    name: "a new grant keeps to the window although messages beyond it were settled before",
    rule: "Never goes `windowMax` or more beyond the lowest unsettled message.",
    async run({ engine }) {
      const { world } = engine;
      await declared(engine);
      await append(engine, "orders", ...numbered(30));
      const first = await soleLane(engine, "orders", "group", { windowMax: 20 });
      const stored = await fetched(world, first.lane, 20);
      await first.lane.commit({ settled: stored.slice(5).map((message) => message.position) });
      await first.member.leave();
      const second = await soleLane(engine, "orders", "group", { windowMax: 20 });
      deepEqual(await fetchedTexts(world, second.lane, 5), numbered(5));
      const waiting = waitingFetch(second.lane);
      await staysPending(world, "a fetch beyond the window", waiting.promise);
      await second.lane.commit({ settled: [stored[0]!.position] });
      const [next] = await within(world, "one more message", waiting.promise);
      equal(textOf(next!.body), "m20");
    },
  },
  {
    name: "a commit's appends reach their topics",
    rule: "`appends`: stored in the same atomic change where `atomic`, else before it.",
    async run({ engine }) {
      await declared(engine);
      await declared(engine, { topic: "invoices", partitions: 2 });
      const [p0] = (await append(engine, "orders", "order")) as bigint[];
      const { lane } = await soleLane(engine, "orders");
      await fetched(engine.world, lane, 1);
      await lane.commit({
        settled: [p0!],
        appends: [
          batch("invoices", [{ body: bytesOf("a"), key: "k", headers: { h: "1" } }, "b"]),
          batch("orders", ["again"]),
        ],
      });
      equal((await laneOf(engine, "invoices")).lag, 2);
      deepEqual(await fetchedTexts(engine.world, lane, 1), ["again"]);
      equal((await laneOf(engine, "orders")).lag, 1);
    },
  },
  {
    name: "a commit whose appends cannot be stored settles nothing and stores nothing",
    rule: "Records progress: all of it or nothing.",
    needs: needsAtomic,
    async run({ engine }) {
      await declared(engine);
      await declared(engine, { topic: "invoices" });
      const [p0] = (await append(engine, "orders", "order")) as bigint[];
      const { lane } = await soleLane(engine, "orders");
      await fetched(engine.world, lane, 1);
      const fine = batch("invoices", ["fine"]);
      const tooLarge = { body: new Uint8Array(engine.messages.capabilities.messageBytesMax + 1) };
      await refused("invalid", "an append that is too large", () =>
        lane.commit({ settled: [p0!], appends: [fine, batch("invoices", [tooLarge])] }),
      );
      await refused("not-found", "an append to a topic that is not there", () =>
        lane.commit({ settled: [p0!], held: [held(p0!, { failures: 1 })], appends: [fine, batch("nowhere", ["m"])] }),
      );
      const description = await laneOf(engine, "orders");
      deepEqual([description.lag, description.held], [1, 0]);
      equal((await laneOf(engine, "invoices")).lag, 0);
      await lane.commit({ settled: [p0!], appends: [fine] });
      equal((await laneOf(engine, "orders")).lag, 0);
      equal((await laneOf(engine, "invoices")).lag, 1);
    },
  },
  {
    name: "a commit repeated unchanged appends nothing a second time when its batches carry sequences",
    rule: "A known sequence is stored no second time.",
    needs: needsAll(needsAtomic, needsSequences),
    async run({ engine }) {
      await declared(engine);
      await declared(engine, { topic: "invoices" });
      const [p0] = (await append(engine, "orders", "order")) as bigint[];
      const { lane } = await soleLane(engine, "orders");
      await fetched(engine.world, lane, 1);
      const producer = { id: "lane", epoch: 0, sequence: 0 };
      const change = { settled: [p0!], appends: [batch("invoices", ["invoice"], { producer })] };
      await lane.commit(change);
      await lane.commit(change);
      equal((await laneOf(engine, "invoices")).lag, 1);
    },
  },
];
