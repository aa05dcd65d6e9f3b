import type { TenonError } from "../../../contracts/errors.ts";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import { isLeaseGone } from "../failures.ts";
import type { LeasedName, WaiterKey } from "./lease-names.ts";
import type { LeaseStore, Seen } from "./lease-store.ts";
import type { Presence } from "./presence.ts";
import type { Turns } from "./turns.ts";

interface Standing {
  readonly request: ValidRequest;
  readonly resolve: (seen: Seen) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Places in queues, under the lease of etcd of this engine's presence. Those who come to the same name at once, or while others of ours are taking their places there, take them in one transaction: of many who
 * come together each would else cost a write. They have the same revision then, and their order is that of `Turns`.
 */
export class Places {
  readonly #store: LeaseStore;
  readonly #presence: Presence;
  readonly #turns: Turns;
  readonly #togetherMax: number;
  /** By name. */
  readonly #coming = new Map<string, Standing[]>();

  constructor(
    parts: { readonly store: LeaseStore; readonly presence: Presence; readonly turns: Turns },
    togetherMax: number,
  ) {
    this.#store = parts.store;
    this.#presence = parts.presence;
    this.#turns = parts.turns;
    this.#togetherMax = togetherMax;
  }

  /** At the end of the queue, unless the holder owns the name or has a place; answers how it is then. */
  stand(name: LeasedName, request: ValidRequest): Promise<Seen> {
    this.#turns.enter(name, request);
    const { promise, resolve, reject } = Promise.withResolvers<Seen>();
    const standing = { request, resolve, reject };
    const coming = this.#coming.get(name.name);
    if (coming !== undefined) coming.push(standing);
    else {
      const first = [standing];
      this.#coming.set(name.name, first);
      void this.#run(name, first);
    }
    return promise;
  }

  /** The place that it has, under the present lease of etcd. */
  async standAgain(name: LeasedName, request: ValidRequest, place: WaiterKey): Promise<Seen> {
    this.#turns.enter(name, request);
    return this.#alone(name, request, await this.#presence.lease(), place);
  }

  async #run(name: LeasedName, coming: Standing[]): Promise<void> {
    while (coming.length > 0) {
      let together: Standing[] = coming;
      try {
        const lease = await this.#presence.lease();
        together = coming.splice(0, this.#togetherMax);
        await this.#take(name, together, lease);
      } catch (error) {
        for (const { reject } of together.splice(0)) reject(error);
      }
    }
    this.#coming.delete(name.name);
  }

  async #take(name: LeasedName, together: readonly Standing[], lease: string): Promise<void> {
    if (together.length > 1 && (await this.#together(name, together, lease))) return;
    // One after the other, lest a request overtakes the one before it.
    for (const { request, resolve, reject } of together) {
      await this.#alone(name, request, lease, undefined).then(resolve, reject);
    }
  }

  /** False when nobody was given a place: one of them owns the name or has one, or etcd refused. */
  async #together(name: LeasedName, together: readonly Standing[], lease: string): Promise<boolean> {
    const requests = together.map(({ request }) => request);
    const snapshot = await this.#store.standTogether(name, requests, lease).catch((error: unknown) => {
      // Each by itself may be small enough, and meets the end of the lease of etcd by itself.
      if (isLeaseGone(error) || (error as Partial<TenonError>).code === "invalid") return undefined;
      throw error;
    });
    if (snapshot === undefined) return false;
    const { revision } = snapshot;
    // All of them have their places before the first one goes on.
    for (const { holder } of requests) this.#turns.placed(name.name, holder, revision);
    for (const { request, resolve } of together) {
      const { holder, weight, capacity } = request;
      resolve({ snapshot, place: { holder, weight, capacity, revision: String(revision), lease } });
    }
    return true;
  }

  async #alone(name: LeasedName, request: ValidRequest, lease: string, place: WaiterKey | undefined): Promise<Seen> {
    try {
      const seen = await this.#store.standInLine(name, request, lease, place);
      if (seen.place !== undefined) this.#turns.placed(name.name, request.holder, Number(seen.place.revision));
      return seen;
    } catch (error) {
      if (!isLeaseGone(error)) throw error;
      this.#presence.ended(lease);
      return this.#store.lookFor(name, request.holder);
    }
  }
}
