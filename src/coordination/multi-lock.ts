import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import type { AcquireOptions, Hold, LeasingEngine, Lock, Lockable, LockOptions } from "./api.ts";
import { notAcquired } from "./failures.ts";
import { type Mutex, mutex } from "./mutex.ts";
import { settingsOf } from "./settings.ts";
import { useHold } from "./use.ts";

/** Several mutexes held at once. It is lost as soon as one of them is. */
export interface HeldLocks extends Hold {
  /** In order. */
  readonly names: readonly string[];
  /** The fencing token of each name. */
  readonly tokens: ReadonlyMap<string, bigint>;
}

export type MultiLock = Lockable<HeldLocks>;

/**
 * The mutexes of all the names, or none of them. They are acquired in the order of the names, whatever order they are given in, so that two who
 * want the same ones never wait for each other. A name that is given twice counts once. `waitMs` is for all of them together.
 */
export function multiLock(engine: LeasingEngine, names: readonly string[], options: LockOptions = {}): MultiLock {
  checkEngine("multiLock()", engine, "leases");
  if (!Array.isArray(names) || names.length === 0) {
    throw new TenonError("invalid", "multiLock() needs a list of at least one name.");
  }
  const sorted = [...new Set(names)].sort();
  return new OrderedLocks(
    engine,
    sorted.map((name) => mutex(engine, name, options)),
    options,
  );
}

class OrderedLocks implements MultiLock {
  readonly name: string;
  readonly #engine: LeasingEngine;
  readonly #mutexes: readonly Mutex[];
  readonly #options: LockOptions;
  readonly #what: string;

  constructor(engine: LeasingEngine, mutexes: readonly Mutex[], options: LockOptions) {
    this.name = mutexes.map((each) => each.name).join(", ");
    this.#engine = engine;
    this.#mutexes = mutexes;
    this.#options = options;
    this.#what = `the mutexes ${mutexes.map((each) => `"${each.name}"`).join(", ")}`;
  }

  async acquire(options?: AcquireOptions): Promise<HeldLocks> {
    const { waitMs } = this.#settings(options);
    const held = await this.#request(waitMs, options);
    if (held === undefined) throw notAcquired(this.#what, waitMs);
    return held;
  }

  async tryAcquire(options?: AcquireOptions): Promise<HeldLocks | undefined> {
    const { waitMs } = this.#settings({ ...options, waitMs: options?.waitMs ?? 0 });
    return this.#request(waitMs, options);
  }

  use<Result>(work: (locks: HeldLocks) => Promise<Result> | Result, options?: AcquireOptions): Promise<Result> {
    return useHold(this.#what, () => this.acquire(options), work);
  }

  #settings(options: AcquireOptions | undefined): { readonly waitMs: number } {
    return settingsOf(this.#what, this.#engine.leases.capabilities, this.#options, options);
  }

  async #request(waitMs: number, options: AcquireOptions | undefined): Promise<HeldLocks | undefined> {
    const { clock } = this.#engine.world;
    const endsAt = clock.monotonic() + waitMs;
    for (;;) {
      const locks = await this.#inOrder(endsAt, options);
      if (locks === undefined) return undefined;
      // Those that are not renewed may have ended while the later ones were waited for.
      if (locks.every((lock) => lock.validMs > 0)) return new HeldTogether(locks);
      await releaseAll(locks);
      if (clock.monotonic() >= endsAt) return undefined;
    }
  }

  async #inOrder(endsAt: number, options: AcquireOptions | undefined): Promise<readonly Lock[] | undefined> {
    const { clock } = this.#engine.world;
    const locks: Lock[] = [];
    try {
      for (const each of this.#mutexes) {
        const waitMs = Math.max(0, Math.ceil(endsAt - clock.monotonic()));
        const lock = await each.tryAcquire({ ...options, waitMs });
        if (lock === undefined) break;
        locks.push(lock);
      }
    } catch (error) {
      // In the background: whoever has aborted does not wait for a reply.
      void releaseAll(locks);
      throw error;
    }
    if (locks.length === this.#mutexes.length) return locks;
    await releaseAll(locks);
    return undefined;
  }
}

class HeldTogether implements HeldLocks {
  readonly names: readonly string[];
  readonly tokens: ReadonlyMap<string, bigint>;
  readonly #locks: readonly Lock[];
  #signal: AbortSignal | undefined;

  constructor(locks: readonly Lock[]) {
    this.#locks = locks;
    this.names = locks.map((lock) => lock.name);
    this.tokens = new Map(locks.map((lock) => [lock.name, lock.token]));
  }

  get signal(): AbortSignal {
    this.#signal ??= AbortSignal.any(this.#locks.map((lock) => lock.signal));
    return this.#signal;
  }

  get validMs(): number {
    return Math.min(...this.#locks.map((lock) => lock.validMs));
  }

  check(): void {
    for (const lock of this.#locks) lock.check();
  }

  async release(): Promise<void> {
    const outcomes = await Promise.allSettled(this.#locks.map((lock) => lock.release()));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await releaseAll(this.#locks);
  }
}

async function releaseAll(locks: readonly Lock[]): Promise<void> {
  await Promise.all(locks.map((lock) => lock[Symbol.asyncDispose]()));
}
