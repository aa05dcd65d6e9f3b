import { deepEqual, equal, ok } from "node:assert/strict";
import { type Lease, sharedCapacity } from "../../contracts/index.ts";
import type { LeaseCase } from "../conformance-case.ts";
import { refused, rejectsWith, staysPending, within } from "../expectations.ts";
import {
  acquired,
  declined,
  freed,
  holders,
  needsAll,
  needsCounted,
  needsFifo,
  queued,
  request,
  waiting,
} from "./fixtures.ts";

const read = { capacity: sharedCapacity };
const write = { capacity: sharedCapacity, weight: sharedCapacity };

export const waitingCases: readonly LeaseCase[] = [
  {
    name: "who waits gets the name when it is released, and not before",
    rule: "Gives up what the holder owns of the name, and wakes those who wait.",
    async run({ engine }) {
      await acquired(engine, "name", "a");
      const lease = waiting(engine, "name", "b");
      await staysPending(engine.world, "b", lease);
      deepEqual(await holders(engine, "name"), ["a"]);
      await engine.leases.release("name", "a");
      equal((await within(engine.world, "b is woken", lease)).holder, "b");
      deepEqual(await holders(engine, "name"), ["b"]);
    },
  },
  {
    name: "those who wait are granted in the order of their requests",
    rule: "Where `capabilities.fifo`, those who wait are granted in the order of their requests.",
    needs: needsFifo,
    async run({ engine }) {
      await acquired(engine, "name", "first");
      const expected = Array.from({ length: 12 }, (_, index) => `holder ${(index * 7) % 12}`);
      const order: string[] = [];
      const all: Promise<void>[] = [];
      for (const [index, holder] of expected.entries()) {
        const turn = async (lease: Lease) => {
          order.push(lease.holder);
          await engine.leases.release("name", lease.holder);
        };
        all.push(waiting(engine, "name", holder).then(turn));
        await queued(engine, "name", index + 1);
      }
      await engine.leases.release("name", "first");
      await within(engine.world, "everybody has had its turn", Promise.all(all));
      deepEqual(order, expected);
    },
  },
  {
    name: "a lighter request does not overtake a heavier one",
    rule: "Nobody overtakes, a lighter request neither.",
    needs: needsAll(needsFifo, needsCounted),
    async run({ engine }) {
      const three = (weight: number) => ({ capacity: 3, weight });
      await acquired(engine, "name", "a", three(2));
      const heavy = waiting(engine, "name", "heavy", three(3));
      await queued(engine, "name", 1);
      await declined(engine, "name", "hasty", three(1));
      const light = waiting(engine, "name", "light", three(1));
      await queued(engine, "name", 2);
      await staysPending(engine.world, "the lighter one", light);
      await engine.leases.release("name", "a");
      await within(engine.world, "the heavy one gets it", heavy);
      await staysPending(engine.world, "the lighter one", light);
      await engine.leases.release("name", "heavy");
      await within(engine.world, "the lighter one gets it", light);
    },
  },
  {
    name: "a reader does not overtake a writer that waits, and readers behind a writer are granted together",
    rule: "Nobody overtakes, a lighter request neither.",
    needs: needsFifo,
    async run({ engine }) {
      await acquired(engine, "name", "r0", read);
      const writer = waiting(engine, "name", "w", write);
      await queued(engine, "name", 1);
      const readers = ["r1", "r2", "r3"].map((holder) => waiting(engine, "name", holder, read));
      await queued(engine, "name", 4);
      await staysPending(engine.world, "a reader", Promise.race(readers));
      await engine.leases.release("name", "r0");
      await within(engine.world, "the writer gets it", writer);
      deepEqual(await holders(engine, "name"), ["w"]);
      await engine.leases.release("name", "w");
      await within(engine.world, "all readers get it", Promise.all(readers));
      deepEqual([...(await holders(engine, "name"))].sort(), ["r1", "r2", "r3"]);
    },
  },
  {
    name: "who has waited in vain leaves the queue, and those behind move up",
    rule: "One that stops waiting (`waitMs`) leaves the queue, and those behind it move up.",
    takesMs: 200,
    needs: needsFifo,
    async run({ engine }) {
      const { clock } = engine.world;
      await acquired(engine, "name", "r0", read);
      const before = clock.monotonic();
      const writer = engine.leases.acquire("name", request("w", { ...write, waitMs: 200 }));
      await queued(engine, "name", 1);
      const reader = waiting(engine, "name", "r1", read);
      equal(await within(engine.world, "the writer gives up", writer), undefined);
      ok(clock.monotonic() - before >= 198, "it has waited its time");
      await within(engine.world, "the reader moves up", reader);
      equal((await engine.leases.describe("name")).waiting, 0);
      await declined(engine, "name", "w", write);
    },
  },
  {
    name: "a wait in vain is answered with `undefined`, and leaves nothing behind",
    rule: "`undefined` when `waitMs` has passed and it was not granted.",
    takesMs: 150,
    async run({ engine }) {
      await acquired(engine, "name", "a");
      const before = engine.world.clock.monotonic();
      const answer = engine.leases.acquire("name", request("b", { waitMs: 150 }));
      equal(await within(engine.world, "b gives up", answer), undefined);
      ok(engine.world.clock.monotonic() - before >= 148, "it has waited its time");
      await engine.leases.release("name", "a");
      await freed(engine, "name");
      await acquired(engine, "name", "c", { waitMs: 10_000 });
    },
  },
  {
    name: "an aborted wait rejects with the signal's reason, and those behind move up",
    rule: "Rejects with the signal's reason when it aborts. One that stops waiting leaves the queue.",
    async run({ engine }) {
      await acquired(engine, "name", "r0", read);
      const controller = new AbortController();
      const { signal } = controller;
      const writer = engine.leases.acquire("name", request("w", { ...write, waitMs: Infinity }), { signal });
      await queued(engine, "name", 1);
      const reader = waiting(engine, "name", "r1", read);
      await queued(engine, "name", 2);
      const reason = new Error("no more time");
      controller.abort(reason);
      await within(engine.world, "the writer gives up", rejectsWith(reason, "the wait", writer));
      await within(engine.world, "the reader gets it", reader);
      await engine.leases.release("name", "r0");
      await engine.leases.release("name", "r1");
      await acquired(engine, "name", "w2", { ...write, waitMs: 10_000 });
    },
  },
  {
    name: "an acquisition that was aborted before it began takes nothing",
    rule: "Rejects with the signal's reason when it aborts; then the name is not held.",
    async run({ engine }) {
      const reason = new Error("too late");
      const signal = AbortSignal.abort(reason);
      await rejectsWith(reason, "the acquisition", engine.leases.acquire("name", request("a"), { signal }));
      await acquired(engine, "name", "b", { waitMs: 10_000 });
    },
  },
  {
    name: "an acquisition that is aborted at any moment leaves the name free after its time to live",
    rule: "Rejects when the signal aborts; then the name is not held, or will be free again after `ttlMs` at the latest.",
    takesMs: 1_000,
    async run({ engine }) {
      for (let turns = 0; turns < 8; turns++) {
        const controller = new AbortController();
        const { signal } = controller;
        const asked = request(`a${turns}`, { ttlMs: 100, waitMs: 5_000 });
        const answer = engine.leases.acquire("name", asked, { signal }).then(
          (lease) => lease,
          (error) => error,
        );
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        if (turns >= 5) await engine.world.timers.sleep(turns - 5);
        controller.abort(new Error(`abort ${turns}`));
        await within(engine.world, "the acquisition settles", answer);
        await acquired(engine, "name", `b${turns}`, { waitMs: Infinity });
        await engine.leases.release("name", `b${turns}`);
      }
    },
  },
  {
    name: "a request that is repeated while it waits shares its place",
    rule: "A request that is repeated while it waits shares its place in the queue, each with its own `waitMs`.",
    takesMs: 1_000,
    needs: needsFifo,
    async run({ engine }) {
      await acquired(engine, "name", "a");
      const impatient = engine.leases.acquire("name", request("b", { waitMs: 1_000 }));
      await queued(engine, "name", 1);
      const behind = waiting(engine, "name", "c");
      await queued(engine, "name", 2);
      const repeated = [waiting(engine, "name", "b"), waiting(engine, "name", "b")];
      equal(await within(engine.world, "the first question ends", impatient), undefined);
      await queued(engine, "name", 2);
      await engine.leases.release("name", "a");
      const [one, other] = await within(engine.world, "b gets it", Promise.all(repeated));
      equal(one!.token, other!.token);
      deepEqual(await holders(engine, "name"), ["b"]);
      await staysPending(engine.world, "c", behind);
      await engine.leases.release("name", "b");
      await within(engine.world, "c gets it", behind);
    },
  },
  {
    name: "a release by who waits gives up its place",
    rule: "Gives up what the holder owns of the name, or its place among those who wait for it.",
    needs: needsFifo,
    async run({ engine }) {
      await acquired(engine, "name", "r0", read);
      const writer = engine.leases.acquire("name", request("w", { ...write, waitMs: Infinity }));
      await queued(engine, "name", 1);
      const reader = waiting(engine, "name", "r1", read);
      await queued(engine, "name", 2);
      await engine.leases.release("name", "w");
      equal(await within(engine.world, "the writer is answered", writer), undefined);
      await within(engine.world, "the reader moves up", reader);
      await engine.leases.release("name", "r0");
      await engine.leases.release("name", "r1");
      await freed(engine, "name");
    },
  },
  {
    name: "many who want the same name get it one at a time, with growing tokens, and nobody is forgotten",
    rule: "Every grant gets a token greater than that of every earlier grant of the name.",
    async run({ engine }) {
      const count = engine.leases.capabilities.fifo ? 100 : 12;
      let inside = 0;
      const tokens: bigint[] = [];
      const holder = async (_: unknown, index: number) => {
        const lease = await waiting(engine, "name", `holder ${index}`);
        inside += 1;
        equal(inside, 1, "one at a time");
        tokens.push(lease.token);
        await Promise.resolve();
        inside -= 1;
        await engine.leases.release("name", lease.holder);
      };
      await within(engine.world, "everybody has had its turn", Promise.all(Array.from({ length: count }, holder)));
      ok(
        tokens.every((token, index) => index === 0 || token > tokens[index - 1]!),
        "every grant has a greater token",
      );
      deepEqual(await holders(engine, "name"), []);
    },
  },
  {
    name: "weights never exceed the capacity, whoever comes and goes",
    rule: "Granted when what is held and the request's weight fit into the request's capacity.",
    needs: needsCounted,
    async run({ engine }) {
      const { random, timers } = engine.world;
      let used = 0;
      const holder = async (_: unknown, index: number) => {
        for (let round = 0; round < 5; round++) {
          const weight = 1 + Math.floor(random.float() * 4);
          const name = `${index}-${round}`;
          await waiting(engine, "name", name, { capacity: 6, weight });
          used += weight;
          ok(used <= 6, `${used} of 6 are held`);
          if (random.float() < 0.5) await timers.sleep(1);
          used -= weight;
          await engine.leases.release("name", name);
        }
      };
      await within(engine.world, "everybody is done", Promise.all(Array.from({ length: 12 }, holder)));
      deepEqual(await holders(engine, "name"), []);
    },
  },
  {
    name: "close rejects those who wait with `closed`",
    rule: "`closed`: it was closed before.",
    async run({ engine }) {
      await acquired(engine, "name", "a");
      const asked = request("b", { waitMs: Infinity });
      const cut = refused("closed", "the wait", () => engine.leases.acquire("name", asked));
      cut.catch(() => undefined);
      await queued(engine, "name", 1);
      await engine.close();
      await within(engine.world, "the end of the wait", cut);
    },
  },
];
