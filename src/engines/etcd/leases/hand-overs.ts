import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { World } from "../../../world/world.ts";
import type { Answer } from "../../shared/leases/acquisition.ts";
import { nameAndHolder } from "../../shared/leases/name-and-holder.ts";
import { isLeaseGone } from "../failures.ts";
import type { Holding, Holdings } from "./holdings.ts";
import type { GrantKey, LeasedName } from "./lease-names.ts";
import type { LeaseStore } from "./lease-store.ts";
import { instant, lasts, type ServerLease, type ServerLeases, secondsFor } from "./server-leases.ts";
import type { Turns } from "./turns.ts";

type Granted = Extract<Answer, { readonly type: "granted" }>;

/** What a holder was given by the one before it, or may have been given. */
interface Given {
  readonly lease: ServerLease;
  /** Missing while nobody has answered, and when the answer was lost. */
  granted: Granted | undefined;
}

export interface HandOverParts {
  readonly world: World;
  readonly store: LeaseStore;
  readonly leases: ServerLeases;
  readonly holdings: Holdings;
  readonly turns: Turns;
}

/**
 * Releases that grant the name to the next holder of the same engine in the same transaction. The next one takes over the lease of etcd, too. It gets its answer when it asks,
 * and gives back what it was given when it does not.
 */
export class HandOvers {
  readonly #parts: HandOverParts;
  readonly #given = new Map<string, Given>();

  constructor(parts: HandOverParts) {
    this.#parts = parts;
  }

  /** Whom the name can be handed over to: whoever of ours has waited longest, and asks for as much time. */
  next(name: LeasedName, { lease }: Holding): { readonly request: ValidRequest; readonly place: number } | undefined {
    const first = this.#parts.turns.first(name.name);
    return first !== undefined && secondsFor(first.request.ttlMs) === lease.seconds ? first : undefined;
  }

  /** Releases the grant; false when that is still to be done. Nothing else may be under way for the two holders. */
  async handOver(
    name: LeasedName,
    from: { readonly holder: string; readonly own: Holding },
    to: { readonly request: ValidRequest; readonly place: number },
  ): Promise<boolean> {
    const { world, store, leases, holdings, turns } = this.#parts;
    const { holder, ttlMs, weight } = to.request;
    const { lease } = from.own;
    const since = instant(world);
    if (!lasts(lease, ttlMs, since) && !(await leases.keepAlive(lease))) return false;
    if (!turns.waits(name.name, holder)) return false;
    const key = nameAndHolder(name.name, holder);
    const given: Given = { lease, granted: undefined };
    this.#given.set(key, given);
    holdings.delete(name.name, from.holder);
    let next: GrantKey | "released" | "gone";
    try {
      const end = { lease: lease.id, expiresAt: world.clock.now() + ttlMs };
      next = await store.handOver(name, from.own, to, end);
    } catch (error) {
      turns.freed(name.name);
      // With its lease of etcd the grant has gone, too.
      if (isLeaseGone(error)) {
        this.#given.delete(key);
        return true;
      }
      // Whether it has the name is for the next one to find out.
      turns.call(name.name, holder, Number.POSITIVE_INFINITY);
      throw error;
    }
    if (next === "released" || next === "gone") {
      this.#given.delete(key);
      leases.giveBack(lease);
      turns.freed(name.name);
      // By now it may have the name anew, from elsewhere.
      return next === "released";
    }
    holdings.set(name.name, holder, { ...next, weight, ttlMs, lease, since });
    const granted = { name: name.name, holder, token: next.token, ttlMs, since };
    given.granted = { type: "granted", lease: granted, isNew: true };
    turns.call(name.name, holder, Number.POSITIVE_INFINITY);
    turns.handedOver(name.name, to.request, Number(next.token));
    return true;
  }

  /** What the holder was given; once. */
  claim(name: LeasedName, holder: string): Granted | undefined {
    const key = nameAndHolder(name.name, holder);
    const granted = this.#given.get(key)?.granted;
    if (granted !== undefined) this.#given.delete(key);
    return granted;
  }

  /** Whether the holder was given something, or may have been, that it has not claimed; it has when it asks once more. */
  take(name: LeasedName, holder: string): boolean {
    return this.#given.delete(nameAndHolder(name.name, holder));
  }

  /** Nobody is there any more who would claim it. What is under way comes to nothing, or to its end. */
  async close(): Promise<void> {
    const given = [...this.#given.values()];
    this.#given.clear();
    await Promise.all(given.map(({ lease }) => this.#parts.leases.revoke(lease)));
  }
}
