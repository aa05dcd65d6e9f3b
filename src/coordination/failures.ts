import { TenonError } from "../contracts/errors.ts";

/** Engines throw `TenonError` only; after anything else nothing is known. */
export function asTenonError(error: unknown, doing: string): TenonError {
  if (error instanceof TenonError) return error;
  return new TenonError("unavailable", `${doing} failed in an unexpected way; see the cause.`, {
    outcome: "unknown",
    cause: error,
  });
}

/** Whether the same request may succeed a little later. */
export function passes({ code }: TenonError): boolean {
  return code === "unavailable" || code === "timeout" || code === "overloaded";
}

export function notAcquired(what: string, waitMs: number): TenonError {
  return new TenonError(
    "timeout",
    `${capital(what)} was not acquired within ${waitMs} ms, because others hold it. Wait longer, or try again later.`,
    { fields: { waitMs } },
  );
}

export function unanswered(what: string, forMs: number, cause: unknown): TenonError {
  return new TenonError(
    "unavailable",
    `${capital(what)}: the engine gave no answer within ${forMs} ms. Look whether it is reachable, then try again.`,
    { outcome: "unknown", fields: { forMs }, cause },
  );
}

/** At the beginning of a sentence. */
export function capital(what: string): string {
  return what.charAt(0).toUpperCase() + what.slice(1);
}

/** A line for the log: no stack and no cause, which may quote data. */
export function describeError(error: unknown): string {
  if (error instanceof TenonError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.name : `a thrown value of type ${typeof error}`;
}
