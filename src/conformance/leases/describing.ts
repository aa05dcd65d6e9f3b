import { deepEqual, equal, ok } from "node:assert/strict";
import { sharedCapacity } from "../../contracts/index.ts";
import type { LeaseCase } from "../conformance-case.ts";
import { refused, within } from "../expectations.ts";
import { acquired, freed, holdersOf, longMs, queued, slackMs, Watching, waiting } from "./fixtures.ts";

export const describingCases: readonly LeaseCase[] = [
  {
    name: "a name that nobody ever asked for has no holders and nobody waiting",
    rule: "A name that nobody ever asked for has no holders and nobody waiting.",
    async run({ engine }) {
      deepEqual(await engine.leases.describe("name"), { name: "name", holders: [], waiting: 0 });
      await acquired(engine, "name", "a");
      await engine.leases.release("name", "a");
      deepEqual(await engine.leases.describe("name"), { name: "name", holders: [], waiting: 0 });
    },
  },
  {
    name: "holders are described with token, weight, data and the end of their time to live",
    rule: "`data`: shown to everybody who describes or watches the name. `expiresAt`: ms since the epoch, by the engine's clock.",
    async run({ engine }) {
      const { clock } = engine.world;
      const data = 'prüf·名前·🧀·\u0000·{"a":1}';
      const shared = { capacity: sharedCapacity };
      const before = clock.now();
      const a = await acquired(engine, "name", "Hölder ä", { ...shared, data });
      const b = await acquired(engine, "name", "b", { ...shared, data: "" });
      const c = await acquired(engine, "name", "c", shared);
      const after = clock.now();
      const { name, holders } = await engine.leases.describe("name");
      equal(name, "name");
      deepEqual(
        holders.map(({ expiresAt: _, ...holder }) => holder),
        [
          { holder: "Hölder ä", token: a.token, weight: 1, data },
          { holder: "b", token: b.token, weight: 1, data: "" },
          { holder: "c", token: c.token, weight: 1, data: undefined },
        ],
      );
      for (const { expiresAt } of holders) {
        ok(expiresAt >= before + longMs - slackMs && expiresAt <= after + longMs + slackMs);
      }
    },
  },
  {
    name: "those who wait are counted",
    rule: "How many requests wait; 0 where the engine cannot tell.",
    async run({ engine }) {
      await acquired(engine, "name", "a");
      const next = waiting(engine, "name", "b");
      await queued(engine, "name", 1);
      if (!engine.leases.capabilities.fifo) ok((await engine.leases.describe("name")).waiting <= 1);
      await engine.leases.release("name", "a");
      await within(engine.world, "b gets it", next);
      equal((await engine.leases.describe("name")).waiting, 0);
    },
  },
  {
    name: "a watch gives the present state first, then what changes",
    rule: "First the present state, then the state after each change of its holders.",
    async run({ engine }) {
      const a = await acquired(engine, "name", "a", { data: "first" });
      await acquired(engine, "other", "x");
      const watching = new Watching(engine, "name");
      const first = await watching.next();
      equal(first.name, "name");
      deepEqual(
        first.holders.map(({ holder, token, data }) => [holder, token, data]),
        [["a", a.token, "first"]],
      );
      await engine.leases.release("name", "a");
      const b = await acquired(engine, "name", "b", { data: "second" });
      const shown = await watching.until("the next holder", (each) => holdersOf(each).includes("b"));
      deepEqual(
        shown.holders.map(({ holder, token, data }) => [holder, token, data]),
        [["b", b.token, "second"]],
      );
      await engine.leases.release("name", "b");
      await watching.until("a free name", (each) => each.holders.length === 0);
      await watching.end();
    },
  },
  {
    name: "a watch of a free name begins with nobody",
    rule: "First the present state.",
    async run({ engine }) {
      const watching = new Watching(engine, "name");
      deepEqual(await watching.next(), { name: "name", holders: [], waiting: 0 });
      await acquired(engine, "name", "a");
      await watching.until("the holder", (each) => holdersOf(each).includes("a"));
      await watching.end();
    },
  },
  {
    name: "a slow reader may miss states in between, never the last one",
    rule: "Changes may be merged; the last state is never left out.",
    async run({ engine }) {
      const watchings = [new Watching(engine, "name"), new Watching(engine, "name")];
      for (const watching of watchings) await watching.next();
      for (let round = 0; round < 60; round++) {
        await acquired(engine, "name", `a${round}`, { waitMs: 10_000 });
        await engine.leases.release("name", `a${round}`);
      }
      const last = await acquired(engine, "name", "last", { waitMs: 10_000 });
      for (const watching of watchings) {
        let token = 0n;
        await watching.until("the last holder", ({ holders }) => {
          ok((holders[0]?.token ?? token) >= token, "states come in their order");
          token = holders[0]?.token ?? token;
          return token === last.token;
        });
        await watching.end();
      }
    },
  },
  {
    name: "the end of a time to live is watched, not early and soon after",
    rule: "The end of a time to live shows at most `capabilities.expiryLatenessMs` late.",
    takesMs: 250,
    async run({ engine, exactTime }) {
      const watching = new Watching(engine, "name");
      await watching.next();
      const { since } = await acquired(engine, "name", "a", { ttlMs: 250 });
      await watching.until("the holder", (each) => holdersOf(each).includes("a"));
      await watching.until("its end", (each) => each.holders.length === 0);
      const heldMs = engine.world.clock.monotonic() - since.monotonic;
      ok(heldMs >= 250 - slackMs, `it was shown to end after ${heldMs} of 250 ms`);
      if (exactTime) ok(heldMs <= 250 + engine.leases.capabilities.expiryLatenessMs + 50, `it took ${heldMs} ms`);
      await watching.end();
    },
  },
  {
    name: "a hand-over from one holder to the next is watched",
    rule: "The state after each change of its holders.",
    async run({ engine }) {
      await acquired(engine, "name", "a");
      const next = waiting(engine, "name", "b");
      await queued(engine, "name", 1);
      const watching = new Watching(engine, "name");
      deepEqual(holdersOf(await watching.next()), ["a"]);
      await engine.leases.release("name", "a");
      await within(engine.world, "b gets it", next);
      await watching.until("the next holder", (each) => holdersOf(each).join() === "b");
      await watching.end();
    },
  },
  {
    name: "aborting ends a watch that waits, and one that has not begun",
    rule: "Ends when the signal aborts.",
    async run({ engine }) {
      const controller = new AbortController();
      const iterator = engine.leases.watch("name", { signal: controller.signal })[Symbol.asyncIterator]();
      equal((await within(engine.world, "the present state", iterator.next())).done, false);
      const next = iterator.next();
      controller.abort();
      equal((await within(engine.world, "the end", next)).done, true);
      equal((await iterator.next()).done, true);
      const late = engine.leases.watch("name", { signal: AbortSignal.abort() })[Symbol.asyncIterator]();
      equal((await within(engine.world, "the end", late.next())).done, true);
    },
  },
  {
    name: "a reader may stop by leaving the loop",
    rule: "A watch is an async iterable.",
    async run({ engine }) {
      await acquired(engine, "name", "a");
      for await (const description of engine.leases.watch("name")) {
        deepEqual(holdersOf(description), ["a"]);
        break;
      }
      await engine.leases.release("name", "a");
      await freed(engine, "name");
    },
  },
  {
    name: "a watch throws `closed` when the engine closes",
    rule: "Throws `closed` when the engine closes.",
    async run({ engine }) {
      const iterator = engine.leases.watch("name")[Symbol.asyncIterator]();
      await within(engine.world, "the present state", iterator.next());
      const cut = refused("closed", "the waiting watch", () => iterator.next());
      cut.catch(() => undefined);
      await engine.close();
      await within(engine.world, "the end", cut);
      await refused("closed", "a new watch", () => engine.leases.watch("name")[Symbol.asyncIterator]().next());
    },
  },
];
