import type { TenonError } from "../contracts/errors.ts";
import type { LeasingEngine } from "./api.ts";
import { backoffMs } from "./backoff.ts";
import { Deadline } from "./deadline.ts";
import { asTenonError, describeError, passes, unanswered } from "./failures.ts";
import { lateTimersOf } from "./late-timers.ts";

/** An engine that does not answer a release within this time is asked again. */
const answerMsMax = 2_000;

/**
 * Releases what the holder owns of the name, and repeats that for `forMs` while the engine fails; at least one attempt is made. Never rejects: answers the
 * last error when it could not be done.
 */
export async function releaseLease(
  engine: LeasingEngine,
  name: string,
  holder: string,
  forMs: number,
): Promise<TenonError | undefined> {
  const { clock, random, timers, log } = engine.world;
  let endsAt: number | undefined;
  for (let failures = 0; ; failures++) {
    // First of all: what is made ready for the answer is made while the engine works.
    const released = ask(engine, name, holder);
    const now = clock.monotonic();
    endsAt ??= now + forMs;
    const answerMs = Math.min(answerMsMax, Math.max(1, endsAt - now));
    const late = () => unanswered(`Releasing "${name}"`, answerMs, undefined);
    const deadline = new Deadline(lateTimersOf(engine), answerMs, late, { keepsAlive: false });
    let error: TenonError;
    try {
      await deadline.race(released);
      return undefined;
    } catch (thrown) {
      error = asTenonError(thrown, `Releasing "${name}"`);
    } finally {
      deadline[Symbol.dispose]();
    }
    const delayMs = backoffMs(failures, random.float());
    if (!passes(error) || clock.monotonic() + delayMs >= endsAt) {
      log.log("warn", "a lease could not be released and ends with its time to live", {
        name,
        error: describeError(error),
      });
      return error;
    }
    await timers.sleep(delayMs);
  }
}

function ask({ leases }: LeasingEngine, name: string, holder: string): Promise<void> {
  try {
    return leases.release(name, holder);
  } catch (error) {
    return Promise.reject(error);
  }
}
