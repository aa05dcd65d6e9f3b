import type { Lease, LeaseDescription } from "../contracts/leases.ts";
import { acquireLease } from "./acquisition.ts";
import type { AcquireOptions, LeasingEngine, Lock, LockOptions, NamedLockable } from "./api.ts";
import { notAcquired } from "./failures.ts";
import { HeldLease } from "./held-lease.ts";
import { lockHandle } from "./lock-handle.ts";
import { type Kind, leaseName } from "./names.ts";
import { type Settings, settingsOf } from "./settings.ts";
import { useHold } from "./use.ts";

/** How much an acquisition takes, of how much there is. */
export interface Share {
  readonly weight: number;
  readonly capacity: number;
}

/** Locks of one name, as leases. `shareOf` says what an acquisition takes, and refuses options that are wrong. */
export class LeaseLocks<Options extends AcquireOptions> implements NamedLockable<Options> {
  readonly name: string;
  readonly #engine: LeasingEngine;
  readonly #what: string;
  readonly #leaseName: string;
  readonly #options: LockOptions;
  /** For acquisitions that say nothing themselves. */
  readonly #defaults: Settings;
  readonly #shareOf: (options: Options | undefined) => Share;

  constructor(
    engine: LeasingEngine,
    kind: Kind,
    name: string,
    options: LockOptions,
    shareOf: (options: Options | undefined) => Share,
  ) {
    const { capabilities } = engine.leases;
    this.name = name;
    this.#engine = engine;
    this.#leaseName = leaseName(kind, name, capabilities.nameBytesMax);
    this.#what = `the ${kind} "${name}"`;
    this.#options = options;
    this.#shareOf = shareOf;
    // Wrong options are found when the lock is made, not when it is first wanted.
    this.#defaults = settingsOf(this.#what, capabilities, options);
  }

  async acquire(options?: Options): Promise<Lock> {
    const settings = this.#settings(options);
    const share = this.#shareOf(options);
    const lease = await this.#request(share, settings, options?.signal);
    if (lease === undefined) throw notAcquired(this.#what, settings.waitMs);
    return this.#hold(lease, share, settings);
  }

  async tryAcquire(options?: Options): Promise<Lock | undefined> {
    const settings = this.#settings({ ...options, waitMs: options?.waitMs ?? 0 });
    const share = this.#shareOf(options);
    const lease = await this.#request(share, settings, options?.signal);
    return lease && this.#hold(lease, share, settings);
  }

  use<Result>(work: (lock: Lock) => Promise<Result> | Result, options?: Options): Promise<Result> {
    return useHold(this.#what, () => this.acquire(options), work);
  }

  async describe(): Promise<LeaseDescription> {
    return { ...(await this.#engine.leases.describe(this.#leaseName)), name: this.name };
  }

  #settings(options: AcquireOptions | undefined): Settings {
    if (options === undefined) return this.#defaults;
    return settingsOf(this.#what, this.#engine.leases.capabilities, this.#options, options);
  }

  #request(
    { weight, capacity }: Share,
    { ttlMs, waitMs, timeoutMs, data }: Settings,
    signal: AbortSignal | undefined,
  ): Promise<Lease | undefined> {
    const what = this.#what;
    const name = this.#leaseName;
    return acquireLease(this.#engine, { what, name, weight, capacity, ttlMs, waitMs, timeoutMs, data, signal });
  }

  #hold(lease: Lease, { weight }: Share, { renew, marginMs }: Settings): Lock | Promise<never> {
    const what = this.#what;
    const held = new HeldLease(this.#engine, lease, { what, renew, marginMs });
    // Unless the answer came later than the lease lasts.
    return held.isOver ? giveBack(held) : lockHandle(what, this.name, weight, held);
  }
}

async function giveBack(held: HeldLease): Promise<never> {
  await held.release();
  throw held.over;
}
