import { TenonError } from "../contracts/errors.ts";
import type { RateRule } from "../contracts/rates.ts";

export interface WaitOptions {
  /** Leaves the queue when it aborts; the promise rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Longest wait. A call that is known to wait longer is refused at once. 10,000 when left out. */
  readonly waitMs?: number | undefined;
}

export interface TakeOptions extends WaitOptions {
  /** How many units; 1 when left out. */
  readonly count?: number | undefined;
}

export const waitMsDefault = 10_000;

export function checkWaitMs(waitMs: number): void {
  if (typeof waitMs === "number" && waitMs >= 0) return;
  throw new TenonError(
    "invalid",
    `waitMs is ${waitMs}. Give a number of milliseconds from 0; Infinity waits for ever.`,
    {
      fields: { waitMs },
    },
  );
}

export function checkMayWait(rule: RateRule): void {
  if (!("countRefusals" in rule) || rule.countRefusals !== true) return;
  throw new TenonError(
    "invalid",
    `Nobody can wait in a ${rule.type} limiter that counts refusals: who waits would keep itself out. Use tryTake, or leave countRefusals out.`,
    { fields: { type: rule.type } },
  );
}

export function tooLong(count: number, retryAfterMs: number, waitMs: number): TenonError {
  return new TenonError(
    "overloaded",
    `${count} are to be had in ${retryAfterMs} ms, but the caller waits ${waitMs} ms at most. Shed the work, or come back later.`,
    { fields: { count, retryAfterMs, waitMs } },
  );
}
