import { deepEqual, equal, ok } from "node:assert/strict";
import { barrier, countdownLatch, fenced, mutex } from "../../coordination/index.ts";
import { bytesOf, refused, staysPending, textOf, within } from "../expectations.ts";
import {
  type CoordinationCase,
  counting,
  keyValueOf,
  needsAll,
  needsCrash,
  needsKeyValue,
  waitMs,
} from "./fixtures.ts";

export const togetherCases: readonly CoordinationCase[] = [
  {
    name: "a latch opens when every participant has counted down, each of them once",
    rule: "Counts the participant once, however often it is called with the same id.",
    needs: needsKeyValue,
    async run(subject) {
      const engine = counting(subject.engine);
      const closing = countdownLatch(engine, "closing", { count: 2 });
      const waiting = countdownLatch(engine, "closing", { count: 2 }).wait({ waitMs });
      equal(await closing.countDown("till 1"), 1);
      equal(await closing.countDown("till 1"), 1);
      await staysPending(engine.world, "waiting for the latch", waiting);
      equal(await closing.countDown("till 2"), 0);
      await within(engine.world, "the latch", waiting);
      await refused("conflict", "another count", () => countdownLatch(engine, "closing", { count: 3 }).countDown("x"));
      await closing.remove();
      equal(await closing.remaining(), 2);
    },
  },
  {
    name: "a latch survives a crash",
    rule: "The count is as durable as the engine's key-values.",
    needs: needsAll(needsKeyValue, needsCrash),
    async run(subject) {
      await countdownLatch(counting(subject.engine), "closing", { count: 2 }).countDown("till 1");
      await subject.crash!();
      const closing = countdownLatch(counting(subject.engine), "closing", { count: 2 });
      equal(await closing.remaining(), 1);
      await closing.countDown("till 1");
      await closing.countDown("till 2");
      await closing.wait({ waitMs });
    },
  },
  {
    name: "all parties of a barrier pass together, generation after generation",
    rule: "When the last one arrives all go on, and the next generation begins.",
    needs: needsKeyValue,
    async run(subject) {
      const engine = counting(subject.engine);
      const arrived = [0, 0, 0];
      const party = async () => {
        const nightly = barrier(engine, "nightly", { parties: 3 });
        for (let generation = 0; generation < 3; generation++) {
          arrived[generation]! += 1;
          deepEqual(await nightly.arrive({ waitMs }), { generation });
          equal(arrived[generation], 3, "nobody passes before all have arrived");
        }
      };
      await Promise.all([party(), party(), party()]);
    },
  },
  {
    name: "a party that gives up breaks the barrier for all, until it is reset",
    rule: "The barrier is broken for all who wait and all who come, until it is reset.",
    needs: needsKeyValue,
    async run(subject) {
      const engine = counting(subject.engine);
      const nightly = barrier(engine, "nightly", { parties: 3 });
      const waiting = refused("conflict", "who waits", () => nightly.arrive({ waitMs }));
      await refused("timeout", "who gives up", () => nightly.arrive({ waitMs: 100 }));
      await waiting;
      await refused("conflict", "who comes later", () => nightly.arrive({ waitMs }));
      await nightly.reset();
      await Promise.all(Array.from({ length: 3 }, () => nightly.arrive({ waitMs })));
    },
  },
  {
    name: "a write under a token is refused once a greater one was seen, with all of its changes",
    rule: "A commit that takes effect only if no greater fencing token has been seen for the resource.",
    needs: needsKeyValue,
    async run({ engine }) {
      const keyValue = keyValueOf(engine);
      const put = (text: string) => [{ type: "put", key: "refund", value: bytesOf(text) } as const];
      const stock = mutex(engine, "stock", { waitMs });
      const old = await stock.acquire();
      ok((await fenced(keyValue, "stock", old.token, put("old"))).committed);
      await old.release();
      const next = await stock.acquire();
      ok((await fenced(keyValue, "stock", next.token, put("new"))).committed);
      await refused("lost", "the old holder's write", () => fenced(keyValue, "stock", old.token, put("too late")));
      const [entry] = await keyValue.get(["refund"]);
      equal(textOf(entry!.value), "new");
      ok((await fenced(keyValue, "stock", next.token, put("again"))).committed);
      await next.release();
    },
  },
];
