import type { KeyValueEngine } from "../contracts/key-value.ts";
import type { LeaseDescription, LeaseEngine } from "../contracts/leases.ts";
import type { World } from "../world/index.ts";

/** What locks, semaphores and elections need of an engine. */
export interface LeasingEngine {
  readonly leases: LeaseEngine;
  readonly world: World;
}

/** What latches need: the count outlives whoever counts. */
export interface CountingEngine {
  readonly keyValue: KeyValueEngine;
  readonly world: World;
}

/** Given when a lock is made; each acquisition may say otherwise. Times are in milliseconds. */
export interface LockOptions {
  /** How long the engine keeps the lock for a holder that it does not hear from; 30,000 when left out. */
  readonly ttlMs?: number | undefined;
  /** How long `acquire` and `use` wait for their turn; 10,000 when left out, `Infinity` waits for ever. */
  readonly waitMs?: number | undefined;
  /** Whether the lock is renewed, at a third of its time to live, as long as it is held; `true` when left out. */
  readonly renew?: boolean | undefined;
  /**
   * So long before the engine may give the lock to somebody else the signal aborts: time to stop in, and room for clocks that do not run
   * equally fast. A tenth of `ttlMs`, at most 3,000, when left out.
   */
  readonly marginMs?: number | undefined;
  /** How long after `waitMs` an engine that fails or does not answer is asked again; 5,000 when left out. */
  readonly timeoutMs?: number | undefined;
  /** Shown to everybody who describes the lock: who holds it, and why. */
  readonly data?: string | undefined;
}

export interface AcquireOptions extends LockOptions {
  /** Leaves the queue when it aborts; the call rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Something that can be held: a mutex, either side of a read-write lock, a semaphore, several locks at once. */
export interface Lockable<Held extends Hold = Lock, Options extends AcquireOptions = AcquireOptions> {
  readonly name: string;
  /** Waits its turn. `timeout` when `waitMs` has passed before. */
  acquire(options?: Options): Promise<Held>;
  /** `undefined` instead of `timeout`; waits only if it is told to: `waitMs` is 0 when left out. */
  tryAcquire(options?: Options): Promise<Held | undefined>;
  /**
   * Acquires, runs the work, releases, and answers what the work answered. `lost` (with `outcome: "unknown"`) when the lock was lost before the work
   * had resolved: then somebody else may have worked at the same time. Errors of the work pass.
   */
  use<Result>(work: (lock: Held) => Promise<Result> | Result, options?: Options): Promise<Result>;
}

/** A lockable of one name, which can be looked at. */
export interface NamedLockable<Options extends AcquireOptions = AcquireOptions> extends Lockable<Lock, Options> {
  /** Who holds it and how many wait, as of one instant. */
  describe(): Promise<LeaseDescription>;
}

/** What is common to all that is held. Disposing releases, and never throws. */
export interface Hold extends AsyncDisposable {
  /** Aborts with a `lost` error when it may not be relied on any more, and with a `closed` one when it has been released. */
  readonly signal: AbortSignal;
  /** For so long it can be relied on if it is never renewed again, in milliseconds; 0 when it is lost or released. */
  readonly validMs: number;
  /** Throws `lost` or `closed` when it is not held any more. Looks at the clocks, so that it knows before the signal does. */
  check(): void;
  /**
   * Gives it up. Repeated when the reply is lost; rejects with `unavailable` when the engine could not be told within 5 s, and then it
   * ends with its time to live. Does nothing when it was released or lost before.
   */
  release(): Promise<void>;
}

/** A held lock. */
export interface Lock extends Hold {
  readonly name: string;
  /** Greater than that of every earlier holder of the name: what guards compare. */
  readonly token: bigint;
  /** How much of the name it holds; 1 but for a semaphore's permits. */
  readonly weight: number;
  /** Holds it once more: it is given up when this one and all that were made so have been released. Throws as `check` does. */
  reenter(): Lock;
}
