import { type Outcome, TenonError } from "../../../contracts/errors.ts";
import type { Address } from "../../../world/world.ts";

/** The connection broke after a request was sent. Told apart from what a server answers. */
export class ConnectionLost extends TenonError {}

export function addressOf({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

export function lost(what: string, address: Address, cause: unknown): ConnectionLost {
  const message = `The connection to the engine at ${addressOf(address)} was lost before ${what} was answered. It may have happened; look, or repeat it where that is safe.`;
  return new ConnectionLost("unavailable", message, { outcome: "unknown", cause });
}

export function overdue(what: string, address: Address, timeoutMs: number): TenonError {
  const message = `The engine at ${addressOf(address)} did not answer ${what} within ${timeoutMs} ms. It may have happened; look, or repeat it where that is safe.`;
  return new TenonError("unavailable", message, { outcome: "unknown", fields: { timeoutMs } });
}

export function unreachable(what: string, address: Address, timeoutMs: number, cause: unknown): TenonError {
  const message = `The engine at ${addressOf(address)} could not be reached for ${timeoutMs} ms, and ${what} was not sent. Try again later.`;
  return new TenonError("unavailable", message, { fields: { timeoutMs }, cause });
}

export function closed(what: string, outcome: Outcome = "not-applied"): TenonError {
  const did = outcome === "unknown" ? "may have happened" : "was not sent";
  return new TenonError("closed", `The remote engine was closed; ${what} ${did}.`, { outcome });
}

/** What failed says what it was: names of fields alone tell a caller little. */
export function named(what: string, error: unknown): unknown {
  if (!(error instanceof TenonError)) return error;
  return new TenonError(error.code, `${what}: ${error.message}`, { fields: error.fields, cause: error.cause });
}

/** A read that failed has changed nothing, whether or not the server came to it. */
export function asRead(error: TenonError): TenonError {
  if (error.outcome === "not-applied") return error;
  const message = "The engine did not answer a read: the connection was lost or the server too slow. Try again.";
  return new TenonError(error.code, error.code === "unavailable" ? message : error.message, {
    fields: error.fields,
    cause: error.cause,
  });
}
