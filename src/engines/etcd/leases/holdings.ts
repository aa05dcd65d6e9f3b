import type { LeaseInstant } from "../../../contracts/leases.ts";
import { elapsedMs, type ServerLease } from "./server-leases.ts";

/** A grant of this engine's, and the lease of etcd under which it stands. */
export interface Holding {
  readonly token: bigint;
  readonly weight: number;
  readonly ttlMs: number;
  readonly lease: ServerLease;
  /** From when on it lasts for its time to live. */
  readonly since: LeaseInstant;
}

/** What this engine's holders hold, as far as it knows: others than those who hold may have ended it. */
export class Holdings {
  /** By name, then by holder. */
  readonly #held = new Map<string, Map<string, Holding>>();

  get(name: string, holder: string): Holding | undefined {
    return this.#held.get(name)?.get(holder);
  }

  set(name: string, holder: string, holding: Holding): void {
    let held = this.#held.get(name);
    if (held === undefined) {
      held = new Map();
      this.#held.set(name, held);
    }
    held.set(holder, holding);
  }

  delete(name: string, holder: string): void {
    const held = this.#held.get(name);
    if (held?.delete(holder) === true && held.size === 0) this.#held.delete(name);
  }

  /** What has lasted for longer than its time is forgotten: its holder did not say that it gave it up. */
  weightOf(name: string, now: LeaseInstant): number {
    let sum = 0;
    for (const [holder, { weight, ttlMs, since }] of this.#held.get(name) ?? []) {
      if (elapsedMs(since, now) <= ttlMs) sum += weight;
      else this.delete(name, holder);
    }
    return sum;
  }
}
