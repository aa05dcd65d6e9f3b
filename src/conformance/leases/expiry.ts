import { deepEqual, equal, ok } from "node:assert/strict";
import { isCode, type Lease, sharedCapacity } from "../../contracts/index.ts";
import type { LeaseCase, LeasesEngine } from "../conformance-case.ts";
import { eventually, refused, within } from "../expectations.ts";
import {
  acquired,
  declined,
  freed,
  holders,
  longMs,
  needsAll,
  needsCounted,
  needsFifo,
  queued,
  slackMs,
  waiting,
} from "./fixtures.ts";

/** The lease was alive when it was to be renewed; `undefined` on a machine so slow that it may rightly have ended. */
async function renewedInTime(engine: LeasesEngine, lease: Lease, ttlMs?: number): Promise<Lease | undefined> {
  try {
    return await engine.leases.renew(lease, ttlMs);
  } catch (error) {
    const passedMs = engine.world.clock.monotonic() - lease.since.monotonic;
    if (isCode(error, "lost") && passedMs >= lease.ttlMs) return undefined;
    throw error;
  }
}

export const expiryCases: readonly LeaseCase[] = [
  {
    name: "a lease ends after its time to live, not before",
    rule: "A holder owns a weight of a name until it releases it or its time to live ends.",
    takesMs: 300,
    async run({ engine, exactTime }) {
      const { clock } = engine.world;
      const { since } = await acquired(engine, "name", "a", { ttlMs: 300 });
      await within(engine.world, "b gets it", waiting(engine, "name", "b"));
      const heldMs = clock.monotonic() - since.monotonic;
      ok(heldMs >= 300 - slackMs, `it ended after ${heldMs} of 300 ms`);
      const { expiryLatenessMs } = engine.leases.capabilities;
      if (exactTime) ok(heldMs <= 300 + expiryLatenessMs + 50, `it was kept for ${heldMs} ms`);
      deepEqual(await holders(engine, "name"), ["b"]);
    },
  },
  {
    name: "a lease that has ended cannot be renewed, although nobody took the name",
    rule: "`lost`: the holder does not own the name any more: it ended, or was released.",
    takesMs: 100,
    async run({ engine }) {
      const lease = await acquired(engine, "name", "a", { ttlMs: 100 });
      await freed(engine, "name");
      await refused("lost", "renewing what has ended", () => engine.leases.renew(lease));
      await refused("lost", "renewing it with another time", () => engine.leases.renew(lease, longMs));
      deepEqual(await holders(engine, "name"), [], "a late renewal takes nothing");
      await engine.leases.release("name", "a");
      const next = await acquired(engine, "name", "b");
      ok(next.token > lease.token);
    },
  },
  {
    name: "what was released cannot be renewed",
    rule: "`lost`: it ended, or was released.",
    async run({ engine }) {
      const lease = await acquired(engine, "name", "a");
      await engine.leases.release("name", "a");
      await refused("lost", "renewing what was released", () => engine.leases.renew(lease));
      const next = await acquired(engine, "name", "b");
      await refused("lost", "renewing what another one holds", () => engine.leases.renew(lease));
      equal((await engine.leases.describe("name")).holders[0]!.token, next.token);
    },
  },
  {
    name: "a renewal under the token of an earlier grant is lost",
    rule: "`lost`: the holder does not own the name any more.",
    async run({ engine }) {
      const former = await acquired(engine, "name", "a");
      await engine.leases.release("name", "a");
      const present = await acquired(engine, "name", "a");
      ok(present.token > former.token);
      await refused("lost", "renewing the former grant", () => engine.leases.renew(former));
      equal((await engine.leases.renew(present)).token, present.token);
    },
  },
  {
    name: "renewing starts the time to live anew and keeps the token",
    rule: "The full time to live again from now, or another one. The token stays.",
    takesMs: 1_600,
    async run({ engine }) {
      const lease = await acquired(engine, "name", "a", { ttlMs: 1_500 });
      const renewed = await renewedInTime(engine, lease, longMs);
      if (renewed === undefined) return;
      equal(renewed.token, lease.token);
      equal(renewed.ttlMs, longMs);
      ok(renewed.since.monotonic >= lease.since.monotonic);
      await engine.world.timers.sleep(1_600);
      await declined(engine, "name", "b");
      const again = await engine.leases.renew(renewed);
      equal(again.ttlMs, longMs, "the time to live of the last renewal is meant");
      const { holders: found } = await engine.leases.describe("name");
      deepEqual(
        found.map(({ holder, token }) => [holder, token]),
        [["a", lease.token]],
      );
    },
  },
  {
    name: "renewing starts the time to live anew also while somebody waits for the name",
    rule: "The full time to live again from now, or another one.",
    takesMs: 1_600,
    async run({ engine }) {
      const lease = await acquired(engine, "name", "a", { ttlMs: 1_500 });
      const next = waiting(engine, "name", "b");
      await queued(engine, "name", 1);
      const renewed = await renewedInTime(engine, lease, longMs);
      if (renewed === undefined) return;
      await engine.world.timers.sleep(1_600);
      deepEqual(await holders(engine, "name"), ["a"]);
      await declined(engine, "name", "c");
      equal((await engine.leases.renew(renewed)).token, lease.token);
      await engine.leases.release("name", "a");
      ok((await within(engine.world, "b gets it", next)).token > lease.token);
    },
  },
  {
    name: "renewing one of several holders starts its time to live anew, and no other's",
    rule: "The full time to live again from now, or another one.",
    takesMs: 1_600,
    needs: needsCounted,
    async run({ engine }) {
      const lease = await acquired(engine, "name", "a", { ttlMs: 1_500, capacity: 2 });
      const other = await acquired(engine, "name", "b", { ttlMs: 1_500, capacity: 2 });
      if ((await renewedInTime(engine, lease, longMs)) === undefined) return;
      await within(engine.world, "c gets what b had", waiting(engine, "name", "c", { capacity: 2 }));
      ok(engine.world.clock.monotonic() - other.since.monotonic >= 1_500 - slackMs, "not before its end");
      deepEqual(await holders(engine, "name"), ["a", "c"]);
    },
  },
  {
    name: "a lease that is renewed all the time stays",
    rule: "The full time to live again from now.",
    takesMs: 1_200,
    async run({ engine }) {
      let lease: Lease | undefined = await acquired(engine, "name", "a", { ttlMs: 1_000 });
      const { token } = lease;
      for (let round = 0; round < 12; round++) {
        await engine.world.timers.sleep(100);
        lease = await renewedInTime(engine, lease);
        if (lease === undefined) return;
        equal(lease.token, token);
      }
    },
  },
  {
    name: "a renewal may shorten the time to live",
    rule: "The full time to live again from now, or another one.",
    takesMs: 200,
    async run({ engine }) {
      const lease = await acquired(engine, "name", "a");
      const next = waiting(engine, "name", "b");
      const renewed = await engine.leases.renew(lease, 200);
      equal(renewed.ttlMs, 200);
      await within(engine.world, "b gets it", next);
      ok(engine.world.clock.monotonic() - renewed.since.monotonic >= 200 - slackMs, "not before its end");
    },
  },
  {
    name: "asking again starts the time to live anew",
    rule: "The same grant again, with the same token and its full time to live.",
    takesMs: 400,
    async run({ engine }) {
      await acquired(engine, "name", "a", { ttlMs: longMs });
      const again = await acquired(engine, "name", "a", { ttlMs: 400 });
      await within(engine.world, "b gets it", waiting(engine, "name", "b"));
      ok(engine.world.clock.monotonic() - again.since.monotonic >= 400 - slackMs, "not before its end");
    },
  },
  {
    name: "a release by a holder whose lease has ended leaves the name to whoever has it since",
    rule: "Gives up what the holder owns of the name. No error when it has nothing any more.",
    takesMs: 100,
    async run({ engine }) {
      await acquired(engine, "name", "a", { ttlMs: 100 });
      const { token } = await within(engine.world, "b gets it", waiting(engine, "name", "b"));
      await engine.leases.release("name", "a");
      const { holders } = await engine.leases.describe("name");
      deepEqual(
        holders.map((each) => [each.holder, each.token]),
        [["b", token]],
      );
      await declined(engine, "name", "c");
    },
  },
  {
    name: "the end of one holder frees its own share, and no other",
    rule: "A holder owns a weight of a name until its time to live ends.",
    takesMs: 200,
    needs: needsCounted,
    async run({ engine }) {
      const four = (weight: number) => ({ capacity: 4, weight });
      await acquired(engine, "name", "stays", four(1));
      await acquired(engine, "name", "ends", { ...four(3), ttlMs: 200 });
      await within(engine.world, "the next gets it", waiting(engine, "name", "next", four(2)));
      deepEqual(await holders(engine, "name"), ["stays", "next"]);
      await declined(engine, "name", "other", four(2));
      await acquired(engine, "name", "other", four(1));
    },
  },
  {
    name: "those who wait get their turn when leases end, one after the other",
    rule: "Those who wait are granted in the order of their requests.",
    takesMs: 600,
    needs: needsFifo,
    async run({ engine }) {
      await acquired(engine, "name", "first", { ttlMs: 150 });
      const order: string[] = [];
      const all: Promise<unknown>[] = [];
      for (const [index, holder] of ["b", "c", "d"].entries()) {
        const answer = waiting(engine, "name", holder, { ttlMs: 150 });
        all.push(answer.then((lease) => order.push(lease.holder)));
        await queuedOrGranted(engine, index + 1, order);
      }
      await within(engine.world, "everybody has had its turn", Promise.all(all));
      deepEqual(order, ["b", "c", "d"]);
    },
  },
  {
    name: "readers that vanish let the writer in when the last of them has ended",
    rule: "Granted when what is held and the request's weight fit into the request's capacity.",
    takesMs: 300,
    needs: needsAll(needsFifo),
    async run({ engine }) {
      const read = { capacity: sharedCapacity };
      await acquired(engine, "name", "r1", { ...read, ttlMs: 100 });
      const last = await acquired(engine, "name", "r2", { ...read, ttlMs: 300 });
      const writer = waiting(engine, "name", "w", { capacity: sharedCapacity, weight: sharedCapacity });
      await within(engine.world, "the writer gets it", writer);
      ok(engine.world.clock.monotonic() - last.since.monotonic >= 300 - slackMs, "not before the last reader's end");
      deepEqual(await holders(engine, "name"), ["w"]);
    },
  },
];

/** On a slow machine the first of them may have had its turn before the last one asks. */
async function queuedOrGranted(engine: LeasesEngine, count: number, granted: readonly string[]): Promise<void> {
  await eventually(engine.world, `${count} wait`, async () => {
    return granted.length > 0 || (await engine.leases.describe("name")).waiting === count;
  });
}
