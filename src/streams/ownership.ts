import { TenonError } from "../contracts/errors.ts";
import type { Lease, LeaseEngine } from "../contracts/leases.ts";
import type { World } from "../world/world.ts";
import { engineBackoffMs } from "./options.ts";

/** Who works on what, among the processes that run the same pipe. It keeps them from disturbing each other; that nothing happens twice is the writer's fence. */
export interface Ownership {
  /** Aborts when it is lost. */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

export const ownershipMs = 10_000;

/** Waits for its turn, `undefined` when that did not come in time. Rejects with the signal's reason when it aborts. */
export async function owned(
  leases: LeaseEngine,
  world: World,
  name: string,
  waitMs: number,
  signal: AbortSignal,
): Promise<Ownership | undefined> {
  for (let attempt = 0; ; attempt++) {
    const holder = world.random.uuid();
    const request = { holder, ttlMs: ownershipMs, waitMs };
    try {
      const lease = await leases.acquire(name, request, { signal });
      return lease && new LeasedOwnership(leases, world, lease);
    } catch (error) {
      // It may have been granted all the same, and then nobody else would get it for a while.
      void leases.release(name, holder).catch(() => undefined);
      if (signal.aborted) throw signal.reason;
      if (!(error instanceof TenonError) || error.code === "closed" || error.code === "invalid") throw error;
    }
    await world.timers.sleep(engineBackoffMs(attempt, world.random.float()), { signal });
  }
}

class LeasedOwnership implements Ownership {
  readonly #leases: LeaseEngine;
  readonly #world: World;
  readonly #lost = new AbortController();
  readonly #released = new AbortController();
  #lease: Lease;

  constructor(leases: LeaseEngine, world: World, lease: Lease) {
    this.#leases = leases;
    this.#world = world;
    this.#lease = lease;
    void this.#keep();
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async #keep(): Promise<void> {
    const { clock, timers } = this.#world;
    const { signal } = this.#released;
    while (!signal.aborted) {
      await timers.sleep(ownershipMs / 4, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        this.#lease = await this.#leases.renew(this.#lease);
      } catch (error) {
        const leftMs = ownershipMs - (clock.monotonic() - this.#lease.since.monotonic);
        if (!isEnd(error) && leftMs > 0) continue;
        if (!signal.aborted) this.#lost.abort(error);
        return;
      }
    }
  }

  async release(): Promise<void> {
    this.#released.abort();
    const { name, holder } = this.#lease;
    await this.#leases.release(name, holder).catch(() => undefined);
  }
}

function isEnd(error: unknown): boolean {
  return !(error instanceof TenonError) || error.code === "lost" || error.code === "closed";
}
