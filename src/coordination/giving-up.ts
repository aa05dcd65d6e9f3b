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
  const endsAt = clock.monotonic() + forMs;
  for (let failures = 0; ; failures++) {
    const leftMs = Math.max(1, failures === 0 ? forMs : endsAt - clock.monotonic());
    const answerMs = Math.min(answerMsMax, leftMs);
    const late = () => unanswered(`Releasing "${name}"`, answerMs, undefined);
    const deadline = new Deadline(lateTimersOf(engine), answerMs, late, { keepsAlive: false });
    let error: TenonError;
    try {
      await deadline.race(engine.leases.release(name, holder));
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
