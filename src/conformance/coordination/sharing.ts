import { deepEqual, equal, ok } from "node:assert/strict";
import { multiLock, mutex, readWriteLock, semaphore } from "../../coordination/index.ts";
import { eventually, refused } from "../expectations.ts";
import { type CoordinationCase, needsAll, needsCounted, needsFifo, waitMs } from "./fixtures.ts";

export const sharingCases: readonly CoordinationCase[] = [
  {
    name: "readers share a read-write lock, and a writer is alone",
    rule: "Many readers or one writer.",
    async run({ engine }) {
      const { read, write } = readWriteLock(engine, "prices", { waitMs });
      const first = await read.acquire();
      const second = await read.acquire();
      equal(await write.tryAcquire(), undefined);
      await first.release();
      equal(await write.tryAcquire(), undefined);
      await second.release();
      const writer = await write.acquire();
      ok(writer.token > first.token && writer.token > second.token);
      equal(await read.tryAcquire(), undefined);
      equal(await write.tryAcquire(), undefined);
      await writer.release();
      await (await read.acquire()).release();
    },
  },
  {
    name: "a waiting writer holds back the readers who come after it",
    rule: "Nobody overtakes, a lighter request neither.",
    needs: needsFifo,
    async run({ engine }) {
      const { read, write } = readWriteLock(engine, "prices", { waitMs });
      const reader = await read.acquire();
      const order: string[] = [];
      const writing = write.use(() => void order.push("write"));
      await eventually(engine.world, "the writer waits", async () => (await write.describe()).waiting === 1);
      equal(await read.tryAcquire(), undefined);
      const reading = read.use(() => void order.push("read"));
      await eventually(engine.world, "the reader waits", async () => (await write.describe()).waiting === 2);
      await reader.release();
      await Promise.all([writing, reading]);
      deepEqual(order, ["write", "read"]);
    },
  },
  {
    name: "no more permits of a semaphore are held than there are",
    rule: "Granted when what is held and the request's weight fit into the request's capacity.",
    needs: needsCounted,
    async run({ engine }) {
      const bank = semaphore(engine, "bank", { permits: 5, waitMs });
      let taken = 0;
      const work = (permits: number) =>
        bank.use(
          async ({ weight }) => {
            equal(weight, permits);
            taken += weight;
            ok(taken <= 5, `${taken} of 5 permits are held`);
            await engine.world.timers.sleep(1);
            taken -= weight;
          },
          { permits },
        );
      await Promise.all(Array.from({ length: 20 }, (_, index) => work(1 + (index % 5))));
    },
  },
  {
    name: "a request for many permits is not overtaken by one for few",
    rule: "Nobody overtakes, a lighter request neither.",
    needs: needsAll(needsCounted, needsFifo),
    async run({ engine }) {
      const bank = semaphore(engine, "bank", { permits: 3, waitMs });
      const first = await bank.acquire({ permits: 2 });
      const heavy = bank.acquire({ permits: 3 });
      await eventually(engine.world, "it waits", async () => (await bank.describe()).waiting === 1);
      equal(await bank.tryAcquire(), undefined, "one permit is free, and wanted by somebody before");
      await first.release();
      await (await heavy).release();
    },
  },
  {
    name: "an engine that cannot count refuses a semaphore when it is made",
    rule: "`unsupported` for more than one permit where `capabilities.counted` is false.",
    needs: ({ engine }) => !engine.leases.capabilities.counted || "the engine declares that it can count",
    async run({ engine }) {
      await refused("unsupported", "a semaphore of two permits", () => semaphore(engine, "bank", { permits: 2 }));
      const one = semaphore(engine, "bank", { permits: 1, waitMs });
      await (await one.acquire()).release();
    },
  },
  {
    name: "several mutexes are held together or not at all, in whatever order they are asked for",
    rule: "The mutexes of all the names, or none of them.",
    async run({ engine }) {
      const held = await mutex(engine, "b").acquire();
      equal(await multiLock(engine, ["a", "b"]).tryAcquire(), undefined);
      await refused("timeout", "both", () => multiLock(engine, ["b", "a"]).acquire({ waitMs: 50 }));
      await (await mutex(engine, "a").acquire({ waitMs })).release();
      await held.release();
      let moved = 0;
      const move = (names: readonly string[]) =>
        multiLock(engine, names, { waitMs }).use(async ({ tokens }) => {
          equal(tokens.size, 2);
          await engine.world.timers.sleep(1);
          moved += 1;
        });
      await Promise.all(Array.from({ length: 10 }, (_, index) => move(index % 2 === 0 ? ["a", "b"] : ["b", "a"])));
      equal(moved, 10);
    },
  },
];
