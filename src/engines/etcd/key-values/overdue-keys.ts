import type { KeyValueEntry } from "../../../contracts/key-value.ts";
import type { Cancel, World } from "../../../world/world.ts";
import type { StoredEntry } from "./entries.ts";

/**
 * How long after its end a key is left to etcd. Leases of etcd end keys by the leader's clock, never early; but a new leader lets every lease begin anew. By this much the
 * clocks of processes may differ before a key could be missed too early.
 */
const graceMs = 2_500;
const pauseMs = 250;

/** Whether etcd should have ended the key long ago. */
export function isOverdue({ expiresAt }: KeyValueEntry, now: number): boolean {
  return expiresAt !== undefined && expiresAt + graceMs <= now;
}

interface Ending {
  readonly revision: number;
  readonly dueAt: number;
}

/** The keys of watches that end some time. Those that etcd has not ended in time are deleted, so that everybody hears of it. */
export class OverdueKeys {
  readonly #world: World;
  readonly #remove: (key: string, revision: number) => Promise<unknown>;
  readonly #endings = new Map<string, Ending>();
  readonly #removing = new Set<string>();
  #timer: Cancel | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #closed = false;

  /** `remove` deletes the key unless another revision has written it. */
  constructor(world: World, remove: (key: string, revision: number) => Promise<unknown>) {
    this.#world = world;
    this.#remove = remove;
  }

  note({ entry: { key, expiresAt }, revision }: StoredEntry): void {
    if (expiresAt === undefined) {
      this.#endings.delete(key);
      return;
    }
    const dueAt = expiresAt + graceMs;
    this.#endings.set(key, { revision, dueAt });
    if (dueAt < this.#timerAt) this.#schedule(dueAt);
  }

  forget(key: string): void {
    this.#endings.delete(key);
  }

  /** Somebody met it. */
  remove({ entry: { key }, revision }: StoredEntry): void {
    const name = `${revision} ${key}`;
    if (this.#closed || this.#removing.has(name)) return;
    this.#removing.add(name);
    this.#remove(key, revision)
      .catch(() => undefined)
      .finally(() => this.#removing.delete(name));
  }

  #schedule(dueAt: number): void {
    this.#timer?.();
    if (this.#closed) return;
    this.#timerAt = dueAt;
    const delayMs = Math.min(2 ** 31 - 1, Math.max(pauseMs, dueAt - this.#world.clock.now()));
    this.#timer = this.#world.timers.schedule(delayMs, () => this.#look());
  }

  #look(): void {
    const now = this.#world.clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [key, { revision, dueAt }] of this.#endings) {
      next = Math.min(next, Math.max(dueAt, now + 1_000));
      if (dueAt <= now) this.remove({ entry: { key, value: nothing, version: 0n, expiresAt: dueAt }, revision });
    }
    this.#timerAt = Number.POSITIVE_INFINITY;
    if (next !== Number.POSITIVE_INFINITY) this.#schedule(next);
  }

  close(): void {
    this.#closed = true;
    this.#timer?.();
    this.#endings.clear();
  }
}

const nothing = new Uint8Array();
