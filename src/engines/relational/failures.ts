import { type Outcome, TenonError } from "../../contracts/errors.ts";

function then(outcome: Outcome): string {
  return outcome === "unknown"
    ? "It may have happened; look, or repeat it where that is safe."
    : "It has not happened; try again.";
}

export function lost(server: string, what: string, cause: unknown, outcome: Outcome): TenonError {
  const message = `The connection to ${server} was lost before ${what} was answered. ${then(outcome)}`;
  return new TenonError("unavailable", message, { outcome, cause: plain(cause) });
}

export function overdue(server: string, what: string, timeoutMs: number, outcome: Outcome): TenonError {
  const message = `${server} did not answer ${what} within ${timeoutMs} ms. ${then(outcome)}`;
  return new TenonError("unavailable", message, { outcome, fields: { timeoutMs } });
}

export function unreachable(server: string, what: string, timeoutMs: number, cause: unknown): TenonError {
  const message = `${server} could not be reached for ${timeoutMs} ms, or had no connection left, and ${what} was not sent. Try again later.`;
  return new TenonError("unavailable", message, { fields: { timeoutMs }, cause: plain(cause) });
}

export function closed(server: string, what: string, outcome: Outcome = "not-applied"): TenonError {
  const then = outcome === "unknown" ? "may have happened" : "was not carried out";
  return new TenonError("closed", `The ${server} engine was closed; ${what} ${then}.`, { outcome });
}

/** Errors of statements may quote values in their details; only name and message of connections' errors are kept. */
export function plain(error: unknown): Error | undefined {
  if (error === undefined) return undefined;
  const kept = new Error(error instanceof Error ? error.message : String(error));
  kept.name = error instanceof Error ? error.name : "Error";
  return kept;
}
