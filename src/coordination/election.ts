import { checkEngine } from "../contracts/engine-arguments.ts";
import { isCode } from "../contracts/errors.ts";
import type { LeaseDescription } from "../contracts/leases.ts";
import type { AcquireOptions, Hold, LeasingEngine, Lock, LockOptions } from "./api.ts";
import { backoffMs } from "./backoff.ts";
import { asTenonError, describeError, passes } from "./failures.ts";
import { LeaseLocks } from "./lease-locks.ts";
import { leaseName } from "./names.ts";
import { invalid } from "./settings.ts";

export interface ElectionOptions extends Omit<LockOptions, "data"> {
  /** Who stands for election: the name of this process, or its address. */
  readonly candidate: string;
  /** Shown to observers beside the candidate; text. */
  readonly data?: string | undefined;
}

export interface Leader {
  readonly candidate: string;
  readonly data: string | undefined;
  /** Greater than every term before it. */
  readonly term: bigint;
}

/** Leadership for one term. */
export interface Leadership extends Hold {
  /** Greater than every term before it, so that it serves as the fencing token of what the leader writes. */
  readonly term: bigint;
  readonly candidate: string;
  /** Steps down; the same as `release`. */
  resign(): Promise<void>;
}

export interface SignalOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface Election {
  readonly name: string;
  readonly candidate: string;
  /** Waits until this candidate leads: for ever, unless `waitMs` is given here or when the election was made. */
  campaign(options?: Omit<AcquireOptions, "data">): Promise<Leadership>;
  /**
   * Leads, and runs the work while it does; campaigns again after a term was lost, as soon as the work of that term has settled. Resolves when
   * the signal has aborted or the work has resolved by itself, having resigned. The leadership's signal aborts with either. Rejects
   * with what the work throws while it leads.
   */
  lead(work: (leadership: Leadership) => Promise<void> | void, options?: SignalOptions): Promise<void>;
  /** Who leads now. */
  leader(): Promise<Leader | undefined>;
  /** Who leads now, and then whoever leads after each change; `undefined` while nobody does. Goes on while the engine is away; ends when the signal aborts. */
  observe(options?: SignalOptions): AsyncIterable<Leader | undefined>;
}

export function election(engine: LeasingEngine, name: string, options: ElectionOptions): Election {
  checkEngine("election()", engine, "leases");
  return new LeaseElection(engine, name, options);
}

class LeaseElection implements Election {
  readonly name: string;
  readonly candidate: string;
  readonly #engine: LeasingEngine;
  readonly #locks: LeaseLocks<AcquireOptions>;
  readonly #leaseName: string;
  readonly #waitMs: number;

  constructor(engine: LeasingEngine, name: string, options: ElectionOptions) {
    const { candidate, data, ...lockOptions } = options;
    if (typeof candidate !== "string" || candidate === "" || !candidate.isWellFormed()) {
      throw invalid(`the election "${name}"`, "candidate", candidate, "well-formed text of at least one character");
    }
    if (data !== undefined && (typeof data !== "string" || !data.isWellFormed())) {
      throw invalid(`the election "${name}"`, "data", data, "well-formed text");
    }
    this.name = name;
    this.candidate = candidate;
    this.#engine = engine;
    this.#waitMs = options.waitMs ?? Number.POSITIVE_INFINITY;
    const shown = JSON.stringify({ candidate, data });
    const share = { weight: 1, capacity: 1 };
    this.#locks = new LeaseLocks(engine, "election", name, { ...lockOptions, data: shown }, () => share);
    this.#leaseName = leaseName("election", name, engine.leases.capabilities.nameBytesMax);
  }

  async campaign(options: Omit<AcquireOptions, "data"> = {}): Promise<Leadership> {
    const lock = await this.#locks.acquire({ ...options, waitMs: options.waitMs ?? this.#waitMs });
    return new Term(lock, this.candidate, undefined);
  }

  async lead(work: (leadership: Leadership) => Promise<void> | void, { signal }: SignalOptions = {}): Promise<void> {
    while (signal?.aborted !== true) {
      const lock = await this.#elected(signal);
      if (lock === undefined) return;
      await using leadership = new Term(lock, this.candidate, signal);
      if (await this.#serve(leadership, work, signal)) return;
    }
  }

  /** `undefined` when the signal has aborted. */
  async #elected(signal: AbortSignal | undefined): Promise<Lock | undefined> {
    try {
      return await this.#locks.acquire({ signal, waitMs: Number.POSITIVE_INFINITY });
    } catch (error) {
      if (signal?.aborted) return undefined;
      // A reply that came later than the term lasts: the next one may be faster.
      if (isCode(error, "lost")) return this.#elected(signal);
      throw error;
    }
  }

  /** One term; answers whether it is over for good. */
  async #serve(
    leadership: Leadership,
    work: (leadership: Leadership) => Promise<void> | void,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    try {
      await work(leadership);
      return !wasLost(leadership);
    } catch (error) {
      if (signal?.aborted) return true;
      if (!wasLost(leadership)) throw error;
      const { log } = this.#engine.world;
      log.log("warn", "the leader's work failed after its term was lost", {
        election: this.name,
        term: leadership.term,
        error: describeError(error),
      });
      return false;
    }
  }

  async leader(): Promise<Leader | undefined> {
    return leaderOf(await this.#engine.leases.describe(this.#leaseName));
  }

  async *observe({ signal }: SignalOptions = {}): AsyncGenerator<Leader | undefined, void, undefined> {
    const { leases, world } = this.#engine;
    let shown: Leader | undefined | "nothing" = "nothing";
    for (let failures = 0; signal?.aborted !== true; failures++) {
      try {
        for await (const description of leases.watch(this.#leaseName, { signal })) {
          failures = 0;
          const leader = leaderOf(description);
          if (shown !== "nothing" && shown?.term === leader?.term) continue;
          shown = leader;
          yield leader;
        }
      } catch (error) {
        const failure = asTenonError(error, `Observing the election "${this.name}"`);
        if (signal?.aborted) return;
        if (!passes(failure)) throw failure;
      }
      if (signal?.aborted) return;
      await world.timers.sleep(backoffMs(failures, world.random.float()), { signal }).catch(() => {});
    }
  }
}

class Term implements Leadership {
  readonly candidate: string;
  readonly #lock: Lock;
  readonly #until: AbortSignal | undefined;
  #signal: AbortSignal | undefined;

  constructor(lock: Lock, candidate: string, until: AbortSignal | undefined) {
    this.candidate = candidate;
    this.#lock = lock;
    this.#until = until;
  }

  get term(): bigint {
    return this.#lock.token;
  }

  get signal(): AbortSignal {
    this.#signal ??= this.#until === undefined ? this.#lock.signal : AbortSignal.any([this.#lock.signal, this.#until]);
    return this.#signal;
  }

  get validMs(): number {
    return this.#lock.validMs;
  }

  check(): void {
    this.#lock.check();
  }

  resign(): Promise<void> {
    return this.#lock.release();
  }

  release(): Promise<void> {
    return this.#lock.release();
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#lock[Symbol.asyncDispose]();
  }
}

function wasLost(leadership: Leadership): boolean {
  try {
    leadership.check();
    return false;
  } catch (error) {
    return isCode(error, "lost");
  }
}

function leaderOf({ holders }: LeaseDescription): Leader | undefined {
  const holder = holders.at(-1);
  if (holder?.data === undefined) return undefined;
  const { candidate, data } = JSON.parse(holder.data) as { candidate: string; data?: string };
  return { candidate, data, term: holder.token };
}
