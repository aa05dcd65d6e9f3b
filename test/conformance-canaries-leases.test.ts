/** Leases that are broken on purpose, one fault each, and the case that must find it. */
import { describe, test } from "node:test";
import { type LeasesEngine, leaseCases } from "tenon/conformance";
import { type LeaseDescription, type LeaseEngine, TenonError } from "tenon/contracts";
import { embedded } from "tenon/embedded";
import type { World } from "tenon/world";
import { type Canary, mustBeFound } from "./conformance-canary.ts";
import { forgetfulWorld } from "./forgetful-world.ts";

interface Fault {
  readonly fault: string;
  readonly caughtBy: string;
  readonly leases?: (sound: LeaseEngine, world: World) => Partial<LeaseEngine>;
  readonly world?: (sound: World) => World;
  readonly staysOpen?: boolean;
}

const faults: readonly Fault[] = [
  {
    fault: "grants beyond the capacity",
    caughtBy: "a name belongs to one holder until it is released",
    leases: (sound) => ({
      acquire: (name, request, options) =>
        sound.acquire(name, { ...request, capacity: (request.capacity ?? 1) + 1 }, options),
    }),
  },
  {
    fault: "looks whether the name is free, and then takes it",
    caughtBy: "of many who ask at the same time at most one gets the name",
    leases: (sound, world) => {
      const shared = { capacity: 2 ** 31 - 1 };
      return {
        async acquire(name, request, options) {
          if ((await sound.describe(name)).holders.length > 0) return undefined;
          await world.timers.sleep(1);
          return sound.acquire(name, { ...request, ...shared }, options);
        },
      };
    },
  },
  {
    fault: "grants anew to a holder that asks again",
    caughtBy: "a holder that asks again gets the same grant, with its full time to live",
    leases: (sound) => ({
      async acquire(name, request, options) {
        await sound.release(name, request.holder);
        return sound.acquire(name, request, options);
      },
    }),
  },
  {
    fault: "takes another weight for the same grant",
    caughtBy: "asking again with another weight or capacity is a conflict",
    leases: (sound) => ({
      async acquire(name, request, options) {
        const held = (await sound.describe(name)).holders.find(({ holder }) => holder === request.holder);
        if (held === undefined) return sound.acquire(name, request, options);
        const { holder, ttlMs } = request;
        return { name, holder, token: held.token, ttlMs, since: { monotonic: 0, wall: 0 } };
      },
    }),
  },
  {
    fault: "takes the time of waiting off the lease",
    caughtBy: "who has waited may rely on its lease from the grant on, not from its question",
    leases: (sound, { clock }) => ({
      async acquire(name, request, options) {
        const since = { monotonic: clock.monotonic(), wall: clock.now() };
        const lease = await sound.acquire(name, request, options);
        return lease && { ...lease, since };
      },
    }),
  },
  {
    fault: "says that it cannot count, and counts",
    caughtBy: "an engine that cannot count refuses to",
    leases: (sound) => ({ capabilities: { ...sound.capabilities, counted: false } }),
  },
  {
    fault: "releases whoever holds the name",
    caughtBy: "a release by somebody who owns nothing is no error and changes nothing",
    leases: (sound) => ({
      async release(name) {
        for (const { holder } of (await sound.describe(name)).holders) await sound.release(name, holder);
      },
    }),
  },
  {
    fault: "releases whoever has the name where its holder had it",
    caughtBy: "a release by a holder whose lease has ended leaves the name to whoever has it since",
    leases: (sound) => {
      const granted = new Set<string>();
      return {
        async acquire(name, request, options) {
          const lease = await sound.acquire(name, request, options);
          if (lease !== undefined) granted.add(lease.holder);
          return lease;
        },
        async release(name, holder) {
          if (!granted.delete(holder)) return sound.release(name, holder);
          for (const each of (await sound.describe(name)).holders) await sound.release(name, each.holder);
        },
      };
    },
  },
  {
    fault: "lets lighter requests overtake",
    caughtBy: "a lighter request does not overtake a heavier one",
    leases: (sound, world) => polling(sound, world, 1),
  },
  {
    fault: "lets readers overtake a writer",
    caughtBy: "a reader does not overtake a writer that waits, and readers behind a writer are granted together",
    leases: (sound, world) => polling(sound, world, 1),
  },
  {
    fault: "grants in no order",
    caughtBy: "those who wait are granted in the order of their requests",
    leases: (sound, world) => polling(sound, world, 5),
  },
  {
    fault: "forgets to wake who waits when the name is released",
    caughtBy: "who waits gets the name when it is released, and not before",
    leases: (sound, world) => polling(sound, world, 60_000),
  },
  {
    fault: "keeps the place of who has waited in vain",
    caughtBy: "who has waited in vain leaves the queue, and those behind move up",
    leases: (sound, world) => ({
      acquire(name, request, options) {
        const { waitMs } = request;
        if (waitMs === 0 || waitMs === Infinity) return sound.acquire(name, request, options);
        const waiting = sound.acquire(name, { ...request, waitMs: Infinity });
        return Promise.race([waiting, world.timers.sleep(waitMs).then(() => undefined)]);
      },
    }),
  },
  {
    fault: "keeps the place of who was aborted",
    caughtBy: "an aborted wait rejects with the signal's reason, and those behind move up",
    leases: (sound) => ({
      acquire(name, request, { signal } = {}) {
        const aborted = Promise.withResolvers<undefined>();
        signal?.addEventListener("abort", () => aborted.reject(signal.reason));
        return Promise.race([sound.acquire(name, request), aborted.promise]);
      },
    }),
  },
  {
    fault: "does not listen to the signal of a wait",
    caughtBy: "an aborted wait rejects with the signal's reason, and those behind move up",
    leases: (sound) => ({ acquire: (name, request) => sound.acquire(name, request) }),
  },
  {
    fault: "gives a grant to who has been told that it was aborted, for ever",
    caughtBy: "an acquisition that is aborted at any moment leaves the name free after its time to live",
    leases: (sound) => ({
      async acquire(name, request, options) {
        const lease = await sound.acquire(name, { ...request, ttlMs: request.ttlMs * 1_000 });
        options?.signal?.throwIfAborted();
        return lease && { ...lease, ttlMs: request.ttlMs };
      },
    }),
  },
  {
    fault: "renews what has ended",
    caughtBy: "a lease that has ended cannot be renewed, although nobody took the name",
    leases: (sound) => ({
      async renew(lease, ttlMs = lease.ttlMs) {
        try {
          return await sound.renew(lease, ttlMs);
        } catch (error) {
          const again = await sound.acquire(lease.name, { holder: lease.holder, ttlMs, waitMs: 0 });
          if (again === undefined) throw error;
          return again;
        }
      },
    }),
  },
  {
    fault: "renews by holder, whatever the token",
    caughtBy: "a renewal under the token of an earlier grant is lost",
    leases: (sound) => ({
      async renew(lease, ttlMs) {
        const held = (await sound.describe(lease.name)).holders.find(({ holder }) => holder === lease.holder);
        return sound.renew({ ...lease, token: held?.token ?? 0n }, ttlMs);
      },
    }),
  },
  {
    fault: "renews nothing",
    caughtBy: "renewing starts the time to live anew and keeps the token",
    leases: () => ({ renew: async (lease, ttlMs = lease.ttlMs) => ({ ...lease, ttlMs }) }),
  },
  {
    fault: "gives a new token with every renewal",
    caughtBy: "renewing starts the time to live anew and keeps the token",
    leases: (sound) => ({
      async renew(lease, ttlMs) {
        const renewed = await sound.renew(lease, ttlMs);
        return { ...renewed, token: renewed.token + 1n };
      },
    }),
  },
  {
    fault: "ends a lease early",
    caughtBy: "a lease ends after its time to live, not before",
    leases: (sound) => withTtl(sound, 0.5),
  },
  {
    fault: "ends a lease far too late",
    caughtBy: "a lease ends after its time to live, not before",
    leases: (sound) => withTtl(sound, 10),
  },
  {
    fault: "gives every grant the same token",
    caughtBy: "tokens grow with every grant: to others, to the same holder, after release",
    leases: (sound) => withToken(sound, () => 7n),
  },
  {
    fault: "forgets a name's tokens when it is free",
    caughtBy: "tokens grow with every grant that follows an expiry",
    leases: (sound) => withToken(sound, (_, holders) => BigInt(holders)),
  },
  {
    fault: "begins its tokens anew after a restart",
    caughtBy: "tokens grow across crashes, whether the name was held, released or never held again",
    leases: (sound) => {
      let first: bigint | undefined;
      return withToken(sound, (token) => {
        first ??= token;
        return token - first + 1n;
      });
    },
  },
  {
    fault: "loses the data",
    caughtBy: "holders are described with token, weight, data and the end of their time to live",
    leases: (sound) => ({
      acquire: (name, request, options) => sound.acquire(name, { ...request, data: undefined }, options),
    }),
  },
  {
    fault: "watches only what changes",
    caughtBy: "a watch gives the present state first, then what changes",
    leases: (sound) => ({ watch: (name, options) => later(sound.watch(name, options), 1) }),
  },
  {
    fault: "does not show that a name has become free",
    caughtBy: "the end of a time to live is watched, not early and soon after",
    leases: (sound) => ({
      async *watch(name, options) {
        let first = true;
        for await (const state of sound.watch(name, options)) {
          if (first || state.holders.length > 0) yield state;
          first = false;
        }
      },
    }),
  },
  {
    fault: "does not end a watch that is aborted",
    caughtBy: "aborting ends a watch that waits, and one that has not begun",
    leases: (sound) => ({ watch: (name) => sound.watch(name) }),
  },
  {
    fault: "takes a time to live of nothing for one of a millisecond",
    caughtBy: "a request with figures that make no sense is invalid, and takes nothing",
    leases: (sound) => ({
      acquire: (name, request, options) =>
        sound.acquire(name, request.ttlMs <= 0 ? { ...request, ttlMs: 1 } : request, options),
    }),
  },
  {
    fault: "leaves those who wait alone when it closes",
    caughtBy: "close rejects those who wait with `closed`",
    leases: (sound) => ({
      acquire: (name, request, options) =>
        sound.acquire(name, request, options).catch((error: unknown) => {
          if (error instanceof TenonError && error.code === "closed" && request.waitMs > 0)
            return new Promise(() => {});
          throw error;
        }),
    }),
  },
  { fault: "stays open", caughtBy: "after close everything is refused with `closed`", staysOpen: true },
  {
    fault: "grants before it syncs",
    caughtBy: "a lease is still held after a crash, and its holder can go on under the same token",
    world: forgetfulWorld,
  },
  {
    fault: "answers a release before it is durable",
    caughtBy: "a release that was answered survives a crash",
    leases: (sound) => ({
      async release(name, holder) {
        sound.release(name, holder).catch(() => undefined);
      },
    }),
  },
  {
    fault: "answers a renewal before it is durable",
    caughtBy: "a renewal that was answered survives a crash",
    leases: (sound) => ({
      async renew(lease, ttlMs = lease.ttlMs) {
        sound.renew(lease, ttlMs).catch(() => undefined);
        return { ...lease, ttlMs };
      },
    }),
  },
];

describe("a fault in leases is found by its case", () => {
  for (const each of faults) test(each.fault, () => mustBeFound(canaryOf(each)));
});

function canaryOf(fault: Fault): Canary<LeasesEngine> {
  const opening = (each: Fault) => async (world: World) =>
    broken(await embedded({ directory: "/data", world: each.world?.(world) ?? world }), each);
  const { caughtBy } = fault;
  return { cases: leaseCases, caughtBy, sound: opening({ fault: "none", caughtBy }), broken: opening(fault) };
}

function broken(engine: LeasesEngine, fault: Fault): LeasesEngine {
  const { leases, world } = engine;
  return {
    world,
    leases: { ...forwarded(leases), ...fault.leases?.(leases, world) },
    close: async () => {
      if (!fault.staysOpen) await engine.close();
    },
  };
}

function forwarded(sound: LeaseEngine): LeaseEngine {
  return {
    capabilities: sound.capabilities,
    acquire: (name, request, options) => sound.acquire(name, request, options),
    renew: (lease, ttlMs) => sound.renew(lease, ttlMs),
    release: (name, holder) => sound.release(name, holder),
    describe: (name) => sound.describe(name),
    watch: (name, options) => sound.watch(name, options),
  };
}

/** Who waits asks again from time to time, and stands in no queue. */
function polling(sound: LeaseEngine, world: World, everyMs: number): Partial<LeaseEngine> {
  let waiting = 0;
  return {
    describe: async (name) => ({ ...(await sound.describe(name)), waiting }),
    async acquire(name, request, options) {
      const hasty = { ...request, waitMs: 0 };
      const first = await sound.acquire(name, hasty, options);
      if (first !== undefined || request.waitMs === 0) return first;
      waiting += 1;
      try {
        for (let passedMs = 0; passedMs < request.waitMs; passedMs += everyMs) {
          // Nobody's turn is longer than another's.
          await world.timers.sleep(everyMs * (0.5 + world.random.float()));
          const lease = await sound.acquire(name, hasty, options);
          if (lease !== undefined) return lease;
        }
        return undefined;
      } finally {
        waiting -= 1;
      }
    },
  };
}

function withTtl(sound: LeaseEngine, factor: number): Partial<LeaseEngine> {
  return {
    async acquire(name, request, options) {
      const lease = await sound.acquire(name, { ...request, ttlMs: request.ttlMs * factor }, options);
      return lease && { ...lease, ttlMs: request.ttlMs };
    },
  };
}

/** Shows another token than the true one. */
function withToken(sound: LeaseEngine, shown: (token: bigint, holders: number) => bigint): Partial<LeaseEngine> {
  return {
    async acquire(name, request, options) {
      const lease = await sound.acquire(name, request, options);
      if (lease === undefined) return undefined;
      return { ...lease, token: shown(lease.token, (await sound.describe(name)).holders.length) };
    },
  };
}

async function* later(states: AsyncIterable<LeaseDescription>, skipped: number): AsyncGenerator<LeaseDescription> {
  let index = 0;
  for await (const state of states) if (index++ >= skipped) yield state;
}
