import { deepEqual, equal, ok } from "node:assert/strict";
import { sharedCapacity } from "../../contracts/index.ts";
import type { LeaseCase } from "../conformance-case.ts";
import { refused } from "../expectations.ts";
import { acquired, declined, freed, holders, longMs, needsCounted, request, slackMs, waiting } from "./fixtures.ts";

export const acquiringCases: readonly LeaseCase[] = [
  {
    name: "a name belongs to one holder until it is released",
    rule: "Grants `weight` of the name to `holder`; `undefined` when it was not granted.",
    async run({ engine }) {
      await acquired(engine, "name", "a");
      await declined(engine, "name", "b");
      await declined(engine, "name", "c");
      deepEqual(await holders(engine, "name"), ["a"]);
      await engine.leases.release("name", "a");
      await acquired(engine, "name", "b");
      await declined(engine, "name", "a");
    },
  },
  {
    name: "of many who ask at the same time at most one gets the name",
    rule: "Granted when what is held and the request's weight fit into the request's capacity.",
    async run({ engine }) {
      const { leases } = engine;
      for (let round = 0; round < 5; round++) {
        const asking = Array.from({ length: 30 }, (_, index) => leases.acquire("name", request(`${round}-${index}`)));
        const granted = (await Promise.all(asking)).filter((lease) => lease !== undefined);
        ok(granted.length <= 1, `${granted.length} hold the name`);
        // Without a queue several may stand in each other's way.
        if (leases.capabilities.fifo) equal(granted.length, 1, "somebody gets the name");
        for (const { holder } of granted) await leases.release("name", holder);
        await freed(engine, "name");
      }
    },
  },
  {
    name: "a holder that asks again gets the same grant, with its full time to live",
    rule: "A holder that already owns the name gets the same grant again, with the same token and its full time to live.",
    async run({ engine }) {
      const { token } = await acquired(engine, "name", "a", { ttlMs: longMs / 2 });
      const first = (await engine.leases.describe("name")).holders[0]!;
      const again = await acquired(engine, "name", "a", { ttlMs: longMs });
      equal(again.token, token);
      const { holders: found } = await engine.leases.describe("name");
      equal(found.length, 1, "it is held once");
      equal(found[0]!.token, token);
      ok(found[0]!.expiresAt >= first.expiresAt + longMs / 2 - slackMs, "its time to live is full again");
      await declined(engine, "name", "b");
      await engine.leases.release("name", "a");
      await acquired(engine, "name", "b");
    },
  },
  {
    name: "a lease may be relied on from just before the request that granted it",
    rule: "`since`: the holder's clocks just before the request was sent that granted or renewed it.",
    async run({ engine }) {
      const { clock } = engine.world;
      const before = { monotonic: clock.monotonic(), wall: clock.now() };
      const lease = await acquired(engine, "name", "a");
      const between = { monotonic: clock.monotonic(), wall: clock.now() };
      const renewed = await engine.leases.renew(lease);
      const after = { monotonic: clock.monotonic(), wall: clock.now() };
      for (const which of ["monotonic", "wall"] as const) {
        ok(before[which] <= lease.since[which] && lease.since[which] <= between[which]);
        ok(between[which] <= renewed.since[which] && renewed.since[which] <= after[which]);
      }
    },
  },
  {
    name: "who has waited may rely on its lease from the grant on, not from its question",
    rule: "`ttlMs`: from the grant on. `since`: just before the request was sent that granted it.",
    takesMs: 300,
    async run({ engine }) {
      await acquired(engine, "name", "a");
      const lease = waiting(engine, "name", "b");
      await engine.world.timers.sleep(300);
      const before = engine.world.clock.monotonic();
      await engine.leases.release("name", "a");
      // An engine that asks again and again may have sent the granting request while the release was under way.
      ok((await lease).since.monotonic >= before - 200, "the wait is not taken off the lease");
    },
  },
  {
    name: "asking again with another weight or capacity is a conflict",
    rule: "`conflict` when it owns it with another weight or capacity.",
    async run({ engine }) {
      const { leases } = engine;
      const { token } = await acquired(engine, "name", "a");
      const shared = { capacity: sharedCapacity };
      await refused("conflict", "another capacity", () => leases.acquire("name", request("a", shared)));
      await acquired(engine, "shared", "a", shared);
      const all = { capacity: sharedCapacity, weight: sharedCapacity };
      await refused("conflict", "another weight", () => leases.acquire("shared", request("a", all)));
      equal((await leases.describe("name")).holders[0]!.token, token);
      deepEqual(await holders(engine, "shared"), ["a"]);
    },
  },
  {
    name: "names share nothing",
    rule: "A holder owns a weight of a name.",
    async run({ engine }) {
      const names = ["name", "Name", "name ", "name:a", "name:", ":name", "n", "0", "name\u0000a", "prüf·名前·🧀"];
      for (const name of names) await acquired(engine, name, "a:name");
      for (const name of names) deepEqual(await holders(engine, name), ["a:name"]);
      await engine.leases.release("name", "a:name");
      deepEqual(await holders(engine, "name"), []);
      for (const name of names.slice(1)) await declined(engine, name, "b");
    },
  },
  {
    name: "holders own their weights, as long as all of them fit into the capacity",
    rule: "Granted when what is held and the request's weight fit into the request's capacity.",
    needs: needsCounted,
    async run({ engine }) {
      const five = (weight: number) => ({ capacity: 5, weight });
      await acquired(engine, "name", "a", five(2));
      await acquired(engine, "name", "b", five(2));
      await declined(engine, "name", "c", five(2));
      await acquired(engine, "name", "d", five(1));
      await declined(engine, "name", "c", five(1));
      const { holders: found } = await engine.leases.describe("name");
      deepEqual(
        found.map(({ holder, weight }) => [holder, weight]),
        [
          ["a", 2],
          ["b", 2],
          ["d", 1],
        ],
      );
      await engine.leases.release("name", "b");
      await acquired(engine, "name", "c", five(2));
      await declined(engine, "name", "b", five(1));
    },
  },
  {
    name: "each request is judged by its own capacity",
    rule: "`capacity`: each request is judged by its own.",
    needs: needsCounted,
    async run({ engine }) {
      await acquired(engine, "name", "a", { capacity: 10, weight: 2 });
      await declined(engine, "name", "b", { capacity: 2 });
      await acquired(engine, "name", "b", { capacity: 3 });
      await declined(engine, "name", "c", { capacity: 3 });
      await acquired(engine, "name", "c", { capacity: 100, weight: 97 });
      await declined(engine, "name", "d", { capacity: 100 });
    },
  },
  {
    name: "shares of a capacity that nobody reaches exclude only who takes all of it",
    rule: "`sharedCapacity`: what a read-write lock is made of.",
    async run({ engine }) {
      const read = { capacity: sharedCapacity };
      const write = { capacity: sharedCapacity, weight: sharedCapacity };
      for (const reader of ["r1", "r2", "r3"]) await acquired(engine, "name", reader, read);
      await declined(engine, "name", "w1", write);
      for (const reader of ["r1", "r2", "r3"]) {
        await declined(engine, "name", "w1", write);
        await engine.leases.release("name", reader);
      }
      await acquired(engine, "name", "w1", write);
      await declined(engine, "name", "r1", read);
      await declined(engine, "name", "w2", write);
      await engine.leases.release("name", "w1");
      await acquired(engine, "name", "r1", read);
    },
  },
  {
    name: "an engine that cannot count refuses to",
    rule: "Where not counted, a request's weight is its capacity, or its capacity is `sharedCapacity`; else `unsupported`.",
    needs: ({ engine }) => !engine.leases.capabilities.counted || "the engine declares that it can count",
    async run({ engine }) {
      const asked = request("a", { capacity: 5, weight: 2 });
      await refused("unsupported", "two of five", () => engine.leases.acquire("name", asked));
      await acquired(engine, "name", "a", { capacity: 5, weight: 5 });
    },
  },
  {
    name: "a release by somebody who owns nothing is no error and changes nothing",
    rule: "No error when it has nothing any more.",
    async run({ engine }) {
      await engine.leases.release("name", "nobody");
      const { token } = await acquired(engine, "name", "a");
      await engine.leases.release("name", "nobody");
      equal((await engine.leases.describe("name")).holders[0]!.token, token);
      await declined(engine, "name", "b");
      await engine.leases.release("name", "a");
      await engine.leases.release("name", "a");
      await acquired(engine, "name", "b");
      await engine.leases.release("name", "a");
      deepEqual(await holders(engine, "name"), ["b"]);
    },
  },
  {
    name: "an acquisition whose reply was lost is repeated under the same holder, or released",
    rule: 'An acquisition whose reply was lost (`outcome: "unknown"`) is repeated, or released, under the same holder.',
    async run({ engine }) {
      const { leases } = engine;
      const lost: bigint[] = [];
      /** The engine is asked; its answer reaches nobody. */
      const losesReply = async (holder: string) => {
        const lease = await leases.acquire("name", request(holder));
        if (lease !== undefined) lost.push(lease.token);
      };
      await losesReply("a");
      equal((await acquired(engine, "name", "a")).token, lost[0]);
      await leases.release("name", "a");
      await losesReply("b");
      await losesReply("b");
      equal(lost.length, 3);
      equal(lost[2], lost[1]);
      await leases.release("name", "b");
      await acquired(engine, "name", "c");
    },
  },
];
