import { type Outcome, TenonError } from "../../contracts/errors.ts";

/** What can come between an engine and its server, said alike by engines over all servers. `what`: the operation, as a noun. */
export interface Losses {
  lost(what: string, cause: unknown, outcome: Outcome): TenonError;
  overdue(what: string, timeoutMs: number, outcome: Outcome): TenonError;
  /** It was not sent. */
  unreachable(what: string, timeoutMs: number, cause: unknown): TenonError;
  closed(what: string, outcome?: Outcome): TenonError;
}

/** `server`: what people call it. */
export function lossesOf(server: string): Losses {
  return {
    lost(what, cause, outcome) {
      const message = `The connection to ${server} was lost before ${what} was answered. ${thenOf(outcome)}`;
      return new TenonError("unavailable", message, { outcome, cause: plain(cause) });
    },
    overdue(what, timeoutMs, outcome) {
      const message = `${server} did not answer ${what} within ${timeoutMs} ms. ${thenOf(outcome)}`;
      return new TenonError("unavailable", message, { outcome, fields: { timeoutMs } });
    },
    unreachable(what, timeoutMs, cause) {
      const message = `${server} could not be reached for ${timeoutMs} ms, and ${what} was not sent. Try again later.`;
      return new TenonError("unavailable", message, { fields: { timeoutMs }, cause: plain(cause) });
    },
    closed(what, outcome = "not-applied") {
      const then = outcome === "unknown" ? "may have happened" : "was not carried out";
      return new TenonError("closed", `The ${server} engine was closed; ${what} ${then}.`, { outcome });
    },
  };
}

function thenOf(outcome: Outcome): string {
  return outcome === "unknown"
    ? "It may have happened; look, or repeat it where that is safe."
    : "It has not happened; try again.";
}

/** Of errors of connections only name and message are kept, with what is said of their cause. */
export function plain(error: unknown): Error | undefined {
  if (error === undefined) return undefined;
  const cause = (error as { cause?: unknown }).cause;
  const inner = cause instanceof Error && cause.message !== "" ? `: ${cause.message}` : "";
  const kept = new Error(error instanceof Error ? `${error.message}${inner}` : String(error));
  kept.name = error instanceof Error ? error.name : "Error";
  return kept;
}
