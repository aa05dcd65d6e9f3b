import type { LeaseInstant } from "../../../contracts/leases.ts";
import type { GrantKey } from "./lease-names.ts";
import { elapsedMs, type ServerLease } from "./server-leases.ts";

/** A grant of this engine's, and the lease of etcd under which it stands. */
export interface Holding extends GrantKey {
  readonly weight: number;
  readonly ttlMs: number;
  readonly lease: ServerLease;
  /** From when on it lasts for its time to live. */
  readonly since: LeaseInstant;
}

/** So many that have ended are kept at most, beside as many as are held. */
const endedMax = 64;

/** What this engine's holders hold, as far as it knows: others than those who hold may have ended it. What has lasted for longer than its time is forgotten: its holder did not say that it gave it up. */
export class Holdings {
  /** By name, then by holder. */
  readonly #held = new Map<string, Map<string, Holding>>();
  #size = 0;
  /** With so many it is looked for those that have ended, wherever they are: a name that nobody asks for again would keep its own for ever. */
  #sizeMax = endedMax;

  get size(): number {
    return this.#size;
  }

  get(name: string, holder: string): Holding | undefined {
    return this.#held.get(name)?.get(holder);
  }

  set(name: string, holder: string, holding: Holding): void {
    let held = this.#held.get(name);
    if (held === undefined) {
      held = new Map();
      this.#held.set(name, held);
    }
    if (!held.has(holder)) this.#size += 1;
    held.set(holder, holding);
    if (this.#size > this.#sizeMax) this.#forgetEnded(holding.since);
  }

  delete(name: string, holder: string): void {
    const held = this.#held.get(name);
    if (held?.delete(holder) !== true) return;
    this.#size -= 1;
    if (held.size === 0) this.#held.delete(name);
  }

  weightOf(name: string, now: LeaseInstant): number {
    let sum = 0;
    for (const [holder, holding] of this.#held.get(name) ?? []) {
      if (hasEnded(holding, now)) this.delete(name, holder);
      else sum += holding.weight;
    }
    return sum;
  }

  /** As rarely as there are more of them than are held. */
  #forgetEnded(now: LeaseInstant): void {
    for (const [name, held] of this.#held) {
      for (const [holder, holding] of held) if (hasEnded(holding, now)) this.delete(name, holder);
    }
    this.#sizeMax = 2 * this.#size + endedMax;
  }
}

function hasEnded({ since, ttlMs }: Holding, now: LeaseInstant): boolean {
  return elapsedMs(since, now) > ttlMs;
}
