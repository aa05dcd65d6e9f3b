import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { LeaseDescription, LeaseInstant } from "../../../contracts/leases.ts";
import type { Cancel } from "../../../world/world.ts";
import type { StoredHolder } from "./lease-records.ts";
import type { LeaseWatch } from "./lease-watch.ts";

/** Who owns a part of the name. */
export interface Held extends StoredHolder {
  readonly holder: string;
  /** By the clock that nobody sets: it ends by whichever of the two comes first. */
  readonly monotonicEnd: number;
}

export interface Granted {
  readonly token: number;
  readonly since: LeaseInstant;
}

/** A place in the queue. A request that is repeated while it waits shares its place. */
export interface Waiter {
  request: ValidRequest;
  readonly askers: Set<PromiseWithResolvers<Granted | undefined>>;
}

/** One name: who holds it, who waits for it, in order, and who watches it. It knows nothing of the journal. */
export class LeasedName {
  readonly name: string;
  readonly holders = new Map<string, Held>();
  /** By holder, in the order of their requests. */
  readonly waiters = new Map<string, Waiter>();
  readonly watches = new Set<LeaseWatch>();
  /** Fires when the next holder's time may have passed. */
  timer: { readonly at: number; readonly cancel: Cancel } | undefined;
  #weight = 0;
  /** No holder ends before these. A renewal may leave them too early, which costs one look in vain. */
  #wallEndMin = Number.POSITIVE_INFINITY;
  #monotonicEndMin = Number.POSITIVE_INFINITY;

  constructor(name: string) {
    this.name = name;
  }

  get unused(): boolean {
    return this.holders.size === 0 && this.waiters.size === 0 && this.watches.size === 0;
  }

  get monotonicEndMin(): number {
    return this.#monotonicEndMin;
  }

  fits(request: ValidRequest): boolean {
    return this.#weight + request.weight <= request.capacity;
  }

  hold(held: Held): void {
    this.#weight += held.weight - (this.holders.get(held.holder)?.weight ?? 0);
    this.holders.set(held.holder, held);
    this.#wallEndMin = Math.min(this.#wallEndMin, held.expiresAt);
    this.#monotonicEndMin = Math.min(this.#monotonicEndMin, held.monotonicEnd);
  }

  drop(holder: string): boolean {
    const held = this.holders.get(holder);
    if (held === undefined) return false;
    this.holders.delete(holder);
    this.#weight -= held.weight;
    return true;
  }

  /** Drops those whose time has passed and answers who they were. */
  dropEnded(now: LeaseInstant): readonly string[] {
    if (now.wall < this.#wallEndMin && now.monotonic < this.#monotonicEndMin) return [];
    const ended: string[] = [];
    this.#wallEndMin = Number.POSITIVE_INFINITY;
    this.#monotonicEndMin = Number.POSITIVE_INFINITY;
    for (const held of this.holders.values()) {
      if (held.expiresAt <= now.wall || held.monotonicEnd <= now.monotonic) {
        ended.push(held.holder);
        continue;
      }
      this.#wallEndMin = Math.min(this.#wallEndMin, held.expiresAt);
      this.#monotonicEndMin = Math.min(this.#monotonicEndMin, held.monotonicEnd);
    }
    for (const holder of ended) this.drop(holder);
    return ended;
  }

  describe(now: LeaseInstant): LeaseDescription {
    const holders = [...this.holders.values()].map((held) => ({
      holder: held.holder,
      token: BigInt(held.token),
      weight: held.weight,
      data: held.data,
      expiresAt: expiresAtBy(held, now),
    }));
    holders.sort((a, b) => (a.token < b.token ? -1 : 1));
    return { name: this.name, holders, waiting: this.waiters.size };
  }
}

/** When the clock was set back since the grant, what was said by it lies too far ahead. */
function expiresAtBy(held: Held, now: LeaseInstant): number {
  if (held.expiresAt <= now.wall + held.ttlMs) return held.expiresAt;
  return now.wall + Math.ceil(held.monotonicEnd - now.monotonic);
}
