import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { mutex } from "../../coordination/index.ts";
import { aborted, eventually, refused, rejectsWith, within } from "../expectations.ts";
import { type CoordinationCase, needsCrash, needsFifo, shortTtlMs, waitMs } from "./fixtures.ts";

export const lockCases: readonly CoordinationCase[] = [
  {
    name: "of many who want a mutex one holds it at a time, and tokens grow",
    rule: "One holder at a time; a token is greater than that of every earlier holder of the name.",
    async run({ engine }) {
      const { timers } = engine.world;
      const shared = mutex(engine, "shared", { waitMs });
      let holders = 0;
      let last = 0n;
      let turns = 0;
      const turn = () =>
        shared.use(async ({ token }) => {
          equal(++holders, 1, "somebody else holds it");
          ok(token > last, "tokens grow");
          last = token;
          await timers.sleep(1);
          turns += 1;
          holders -= 1;
        });
      await Promise.all(Array.from({ length: 20 }, turn));
      equal(turns, 20);
    },
  },
  {
    name: "those who wait for a mutex get it in the order of asking",
    rule: "Where `capabilities.fifo`, those who wait are granted in the order of their requests.",
    needs: needsFifo,
    async run({ engine }) {
      const shared = mutex(engine, "shared", { waitMs });
      const first = await shared.acquire();
      const order: number[] = [];
      const waiting: Promise<void>[] = [];
      for (let index = 0; index < 5; index++) {
        waiting.push(shared.use(() => void order.push(index)));
        await eventually(engine.world, "it waits", async () => (await shared.describe()).waiting === index + 1);
      }
      await first.release();
      await Promise.all(waiting);
      deepEqual(order, [0, 1, 2, 3, 4]);
    },
  },
  {
    name: "a mutex that is held is refused at once, or after the wait, and the place in the queue is given up",
    rule: "`tryAcquire` answers `undefined`, `acquire` rejects with `timeout`.",
    async run({ engine }) {
      const shared = mutex(engine, "shared");
      const lock = await shared.acquire();
      equal(await shared.tryAcquire(), undefined);
      await refused("timeout", "an acquisition that waits for 50 ms", () => shared.acquire({ waitMs: 50 }));
      await lock.release();
      const next = await shared.acquire({ waitMs });
      ok(next.token > lock.token);
      await next.release();
    },
  },
  {
    name: "an abort ends the wait for a mutex with its own reason",
    rule: "Leaves the queue when it aborts; the call rejects with its reason.",
    async run({ engine }) {
      const shared = mutex(engine, "shared");
      const lock = await shared.acquire();
      const stop = new AbortController();
      const reason = new Error("enough");
      const waiting = shared.acquire({ waitMs, signal: stop.signal });
      stop.abort(reason);
      await rejectsWith(reason, "the acquisition", within(engine.world, "the abort", waiting));
      await lock.release();
      await (await shared.acquire({ waitMs })).release();
    },
  },
  {
    name: "a held mutex is renewed beyond its time to live",
    rule: "Renewed at a third of its time to live, as long as it is held.",
    takesMs: 2_500,
    async run({ engine }) {
      const { clock, timers } = engine.world;
      const ttlMs = shortTtlMs(engine);
      const shared = mutex(engine, "shared", { ttlMs });
      // A machine that stands still for long loses the lock rightly; then the case has seen nothing, and looks again.
      for (let attempt = 1; ; attempt++) {
        await using lock = await shared.acquire({ waitMs });
        const endsAt = clock.monotonic() + ttlMs * 2.5;
        let stillMs = 0;
        for (let now = clock.monotonic(); now < endsAt && !lock.signal.aborted; ) {
          await timers.sleep(10);
          stillMs = Math.max(stillMs, clock.monotonic() - now);
          now = clock.monotonic();
        }
        const other = await shared.tryAcquire();
        if (attempt < 10 && lock.validMs === 0 && stillMs > ttlMs / 4) {
          await other?.release();
          continue;
        }
        lock.check();
        equal(other, undefined);
        return;
      }
    },
  },
  {
    name: "a mutex that is not renewed is lost to its holder before the next one gets it",
    rule: "The signal aborts before the engine may give the lock to somebody else.",
    takesMs: 2_000,
    async run({ engine }) {
      const ttlMs = shortTtlMs(engine);
      const shared = mutex(engine, "shared", { ttlMs, renew: false, marginMs: ttlMs / 4 });
      const lock = await shared.acquire();
      const { signal } = lock;
      const next = await shared.acquire({ waitMs, renew: true, ttlMs: 30_000 });
      ok(next.token > lock.token);
      await aborted(engine.world, "the signal of the lost lock", signal);
      equal(signal.reason.code, "lost");
      throws(() => lock.check(), { code: "lost" });
      await lock.release();
      next.check();
      equal(await shared.tryAcquire(), undefined, "releasing what is lost takes nothing from the next one");
      await next.release();
    },
  },
  {
    name: "a handle reenters, and the mutex is free when the last handle is released",
    rule: "It is given up when this one and all that were made so have been released.",
    async run({ engine }) {
      const shared = mutex(engine, "shared");
      const outer = await shared.acquire();
      const inner = outer.reenter();
      await outer.release();
      inner.check();
      equal(await shared.tryAcquire(), undefined);
      await inner.release();
      await (await shared.acquire({ waitMs })).release();
    },
  },
  {
    name: "a mutex whose holder died is granted again, with a greater token",
    rule: "How long the engine keeps the lock for a holder that it does not hear from: its time to live.",
    takesMs: 2_000,
    needs: needsCrash,
    async run(subject) {
      const lock = await mutex(subject.engine, "shared", { ttlMs: shortTtlMs(subject.engine) }).acquire();
      await subject.crash!();
      const next = await mutex(subject.engine, "shared").acquire({ waitMs });
      ok(next.token > lock.token);
      await next.release();
    },
  },
  {
    name: "tokens grow over a crash although the mutex was free before",
    rule: "Every grant gets a token greater than that of every earlier grant of the name, also across restarts.",
    needs: needsCrash,
    async run(subject) {
      const lock = await mutex(subject.engine, "shared").acquire();
      await lock.release();
      await subject.crash!();
      const next = await mutex(subject.engine, "shared").acquire({ waitMs });
      ok(next.token > lock.token);
      await next.release();
    },
  },
];
