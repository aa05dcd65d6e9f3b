import type { CountingEngine, LeasingEngine } from "./api.ts";
import { backoffMs } from "./backoff.ts";
import type { BarrierRecord } from "./barrier-record.ts";
import { type BarrierState, type Fate, fateOf } from "./barrier-state.ts";
import { Deadline } from "./deadline.ts";
import { asTenonError, passes } from "./failures.ts";

export interface Generation {
  readonly engine: LeasingEngine & CountingEngine;
  readonly record: BarrierRecord;
  readonly presenceName: string;
  readonly generation: number;
  /** Ends the waiting; it rejects with the reason. */
  readonly ended: AbortSignal;
  /** Looks whether somebody who has arrived is dead, and breaks the generation then. */
  readonly bury: () => Promise<void>;
}

/** Waits until the generation has ended, and answers how. */
export async function watchGeneration(watched: Generation): Promise<Fate> {
  const answered = new AbortController();
  const signal = AbortSignal.any([watched.ended, answered.signal]);
  using deadline = new Deadline(watched.engine.world.timers, Number.POSITIVE_INFINITY, neverLate, { signal });
  const parties = new Parties(watched, deadline.signal);
  const fate = fateIn(watched, deadline, parties);
  const death = parties.watch();
  // Whichever comes second is heard by nobody.
  death.catch(() => {});
  fate.catch(() => {});
  try {
    return await Promise.race([fate, death]);
  } finally {
    answered.abort();
  }
}

async function fateIn({ record, generation }: Generation, deadline: Deadline, parties: Parties): Promise<Fate> {
  for await (const state of record.states(deadline)) {
    const fate = fateOf(state, generation);
    if (fate !== "waiting") return fate;
    await parties.arrived(state);
  }
  throw deadline.signal.reason;
}

/** Compares who has arrived with who holds a share; both come by watches, so that a difference is only a reason to look. */
class Parties {
  readonly #watched: Generation;
  readonly #signal: AbortSignal;
  #arrived: readonly string[] = [];
  #alive: ReadonlySet<string> | undefined;

  constructor(watched: Generation, signal: AbortSignal) {
    this.#watched = watched;
    this.#signal = signal;
  }

  async arrived({ arrived }: BarrierState): Promise<void> {
    this.#arrived = arrived;
    await this.#compare();
  }

  async watch(): Promise<never> {
    const signal = this.#signal;
    const { engine, presenceName } = this.#watched;
    const { leases, world } = engine;
    for (let failures = 0; ; failures++) {
      try {
        for await (const { holders } of leases.watch(presenceName, { signal })) {
          failures = 0;
          this.#alive = new Set(holders.map((holder) => String(holder.token)));
          await this.#compare();
        }
      } catch (error) {
        const failure = asTenonError(error, `Watching ${this.#watched.record.what}`);
        if (!signal.aborted && !passes(failure)) throw failure;
      }
      signal.throwIfAborted();
      await world.timers.sleep(backoffMs(failures, world.random.float()), { signal });
    }
  }

  /** Asks again while the engine fails: what the watches have told they do not tell twice. */
  async #compare(): Promise<void> {
    const { record, engine, bury } = this.#watched;
    const { timers, random } = engine.world;
    for (let failures = 0; this.#isMissingSomebody(); failures++) {
      try {
        return await bury();
      } catch (error) {
        const failure = asTenonError(error, `Looking for the parties of ${record.what}`);
        if (!passes(failure)) throw failure;
      }
      await timers.sleep(backoffMs(failures, random.float()), { signal: this.#signal });
    }
  }

  #isMissingSomebody(): boolean {
    const alive = this.#alive;
    return alive !== undefined && this.#arrived.some((party) => !alive.has(party));
  }
}

function neverLate(): Error {
  return new Error("a deadline without an end has passed");
}
