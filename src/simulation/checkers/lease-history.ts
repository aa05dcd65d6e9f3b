import { isCode } from "../../contracts/errors.ts";
import type { Lease, LeaseEngine } from "../../contracts/leases.ts";
import type { Clock } from "../../world/world.ts";
import { type Operation, OperationHistory } from "./operation-history.ts";

export type LeaseInput =
  | {
      readonly type: "acquire";
      readonly name: string;
      readonly holder: string;
      readonly ttlMs: number;
      readonly waitMs: number;
      readonly weight: number;
      readonly capacity: number;
    }
  | {
      readonly type: "renew";
      readonly name: string;
      readonly holder: string;
      readonly token: bigint;
      readonly ttlMs: number;
    }
  | { readonly type: "release"; readonly name: string; readonly holder: string };

export type LeaseOutput =
  /** `sinceAt`: the virtual instant from which its holder counts, which is not before the call; the call's own when nobody says. */
  | { readonly type: "granted"; readonly token: bigint; readonly sinceAt?: number | undefined }
  | { readonly type: "not granted" }
  | { readonly type: "renewed"; readonly sinceAt?: number | undefined }
  | { readonly type: "lost" }
  | { readonly type: "released" };

export type LeaseOperation = Operation<LeaseInput, LeaseOutput>;

/** An effect that was to be refused when its resource had seen a greater token. */
export interface GuardedEffect {
  readonly resource: string;
  readonly token: bigint;
}

export interface EffectResult {
  readonly applied: boolean;
  /** Where the resource keeps its effects in an order: the effect's place in it, such as the version of its commit. */
  readonly order?: bigint | undefined;
}

/** Somebody's belief to hold a lease, from when it was told so until its signal aborted or it gave it up. */
export interface Hold {
  readonly client: string;
  readonly name: string;
  readonly token: bigint;
  readonly fromMs: number;
  /** `undefined`: it has not ended. */
  readonly untilMs: number | undefined;
}

/** What clients asked of leases, what they took themselves to hold, and what they did under it. */
export class LeaseHistory {
  readonly requests: OperationHistory<LeaseInput, LeaseOutput>;
  readonly effects: OperationHistory<GuardedEffect, EffectResult>;
  readonly #now: () => number;
  readonly #holds = new Set<{ -readonly [Key in keyof Hold]: Hold[Key] }>();

  /** `now`: virtual ms. */
  constructor(now: () => number) {
    this.#now = now;
    this.requests = new OperationHistory(now);
    this.effects = new OperationHistory(now);
  }

  get nowMs(): number {
    return this.#now();
  }

  get holds(): readonly Hold[] {
    return [...this.#holds];
  }

  /** Somebody takes itself to hold the lease until the signal aborts: as every lock's does when it is lost or released. `name`: as the engine knows it. */
  held(client: string, name: string, token: bigint, signal: AbortSignal): void {
    const hold = { client, name, token, fromMs: this.#now(), untilMs: signal.aborted ? this.#now() : undefined };
    this.#holds.add(hold);
    signal.addEventListener("abort", () => {
      hold.untilMs ??= this.#now();
    });
  }

  /** The client has died, and takes itself for nothing any more. */
  died(client: string): void {
    for (const hold of this.#holds) if (hold.client === client) hold.untilMs ??= this.#now();
  }
}

/** The same leases, with every acquisition, renewal and release in the history. `clock`: the holder's, to tell from when its leases count. */
export function recordLeases(
  leases: LeaseEngine,
  history: LeaseHistory,
  client: string,
  clock?: Clock | undefined,
): LeaseEngine {
  const { requests } = history;
  const sinceAt = ({ since }: Lease): number | undefined =>
    clock && history.nowMs - Math.max(clock.monotonic() - since.monotonic, clock.now() - since.wall, 0);
  return {
    capabilities: leases.capabilities,
    acquire: async (name, request, options) => {
      const { holder, ttlMs, waitMs, weight = 1, capacity = 1 } = request;
      const input: LeaseInput = { type: "acquire", name, holder, ttlMs, waitMs, weight, capacity };
      let lease: Lease | undefined;
      await requests.record(client, input, async () => {
        lease = await leases.acquire(name, request, options);
        return lease === undefined
          ? { type: "not granted" }
          : { type: "granted", token: lease.token, sinceAt: sinceAt(lease) };
      });
      return lease;
    },
    renew: async (lease, ttlMs = lease.ttlMs) => {
      const { name, holder, token } = lease;
      let renewed: Lease | undefined;
      let lost: unknown;
      await requests.record(client, { type: "renew", name, holder, token, ttlMs }, async () => {
        try {
          renewed = await leases.renew(lease, ttlMs);
          return { type: "renewed", sinceAt: sinceAt(renewed) };
        } catch (error) {
          if (!isCode(error, "lost")) throw error;
          lost = error;
          return { type: "lost" };
        }
      });
      if (renewed === undefined) throw lost;
      return renewed;
    },
    release: async (name, holder) => {
      await requests.record(client, { type: "release", name, holder }, async () => {
        await leases.release(name, holder);
        return { type: "released" };
      });
    },
    describe: (name) => leases.describe(name),
    watch: (name, options) => leases.watch(name, options),
  };
}
