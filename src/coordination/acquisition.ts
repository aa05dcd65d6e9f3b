import type { TenonError } from "../contracts/errors.ts";
import type { Lease } from "../contracts/leases.ts";
import type { LeasingEngine } from "./api.ts";
import { backoffMs } from "./backoff.ts";
import { Deadline } from "./deadline.ts";
import { asTenonError, passes, unanswered } from "./failures.ts";
import { releaseLease } from "./giving-up.ts";
import { lateTimersOf } from "./late-timers.ts";

export interface Wanted {
  /** For errors: `the mutex "a"`. */
  readonly what: string;
  readonly name: string;
  readonly weight: number;
  readonly capacity: number;
  readonly ttlMs: number;
  readonly waitMs: number;
  /** How long after `waitMs` a failing engine is asked again. */
  readonly timeoutMs: number;
  readonly data: string | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * Acquires under a holder's name that was never used before. A request whose reply is lost is repeated under the same one, which the engine
 * answers with the same grant. Whatever may have been granted to a caller who is gone is released in the background.
 */
export async function acquireLease(engine: LeasingEngine, wanted: Wanted): Promise<Lease | undefined> {
  const { clock, random, timers } = engine.world;
  const { what, waitMs, timeoutMs } = wanted;
  const holder = random.uuid();
  wanted.signal?.throwIfAborted();
  // First of all: what is made ready for the answer is made while the engine works.
  let asked = ask(engine, wanted, holder, waitMs);
  let lastError: TenonError | undefined;
  let uncertain = false;
  const late = () => unanswered(what, waitMs + timeoutMs, lastError);
  let deadline: Deadline;
  try {
    deadline = new Deadline(lateTimersOf(engine), waitMs + timeoutMs, late, {
      signal: wanted.signal,
      keepsAlive: waitMs > 0,
    });
  } catch (error) {
    // It was aborted by what the engine does when it is asked.
    abandon(engine, wanted, holder, asked);
    throw error;
  }
  const startedAt = clock.monotonic();
  // `using` would cost more than all else that is done here.
  try {
    for (let failures = 0; ; failures++) {
      try {
        const lease = await deadline.race(asked);
        if (lease === undefined && uncertain) void releaseLease(engine, wanted.name, holder, wanted.ttlMs);
        return lease;
      } catch (error) {
        if (deadline.ended) {
          abandon(engine, wanted, holder, asked);
          throw deadline.signal.reason;
        }
        lastError = asTenonError(error, `Acquiring ${what}`);
        uncertain ||= lastError.outcome !== "not-applied";
        if (!passes(lastError)) {
          if (uncertain) abandon(engine, wanted, holder, asked);
          throw lastError;
        }
      }
      try {
        await timers.sleep(backoffMs(failures, random.float()), { signal: deadline.signal });
      } catch {
        if (uncertain) abandon(engine, wanted, holder, asked);
        throw deadline.signal.reason;
      }
      asked = ask(engine, wanted, holder, Math.max(0, Math.ceil(waitMs - (clock.monotonic() - startedAt))));
    }
  } finally {
    deadline[Symbol.dispose]();
  }
}

/** Asks until `waitMs` or the caller's signal ends it; whoever is gone otherwise gives the holder up. */
function ask(
  { leases }: LeasingEngine,
  { name, weight, capacity, ttlMs, data, signal }: Wanted,
  holder: string,
  waitMs: number,
): Promise<Lease | undefined> {
  try {
    return leases.acquire(name, { holder, ttlMs, waitMs, weight, capacity, data }, { signal });
  } catch (error) {
    return Promise.reject(error);
  }
}

/** The caller has gone; the request may have been granted, or may be granted yet. */
function abandon(
  engine: LeasingEngine,
  { name, ttlMs }: Wanted,
  holder: string,
  asked: Promise<Lease | undefined>,
): void {
  void releaseLease(engine, name, holder, ttlMs);
  const again = (lease: Lease | undefined): void => {
    if (lease !== undefined) void releaseLease(engine, name, holder, ttlMs);
  };
  asked.then(again, () => {});
}
