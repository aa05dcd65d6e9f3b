import { TenonError } from "../contracts/errors.ts";

/** When a failed message is handled again. */
export interface RetryOptions {
  /** Retries after the first delivery before the message becomes a dead letter; 16 when left out. */
  readonly attemptsMax?: number | undefined;
  /** The upper bound of the wait before the first retry; it doubles from retry to retry. 1,000 when left out. */
  readonly delayMs?: number | undefined;
  /** Where the doubling ends; 600,000 when left out. */
  readonly delayMsMax?: number | undefined;
}

export interface RetryPolicy {
  readonly attemptsMax: number;
  readonly delayMs: number;
  readonly delayMsMax: number;
}

export function retryPolicy(options: RetryOptions = {}): RetryPolicy {
  const policy = {
    attemptsMax: options.attemptsMax ?? 16,
    delayMs: options.delayMs ?? 1_000,
    delayMsMax: options.delayMsMax ?? 600_000,
  };
  if (!Number.isSafeInteger(policy.attemptsMax) || policy.attemptsMax < 0) {
    throw new TenonError("invalid", `retry.attemptsMax is ${policy.attemptsMax}; it must be an integer from 0.`);
  }
  for (const name of ["delayMs", "delayMsMax"] as const) {
    if (!Number.isFinite(policy[name]) || policy[name] < 0) {
      throw new TenonError("invalid", `retry.${name} is ${policy[name]}; it must be a number of milliseconds from 0.`);
    }
  }
  return policy;
}

/**
 * The wait after the given number of failures: exponential with full jitter, so that messages that failed together
 * do not come back together. `random` is uniform in [0, 1).
 */
export function backoffMs(policy: RetryPolicy, failures: number, random: number): number {
  return Math.floor(random * Math.min(policy.delayMsMax, policy.delayMs * 2 ** (failures - 1)));
}
