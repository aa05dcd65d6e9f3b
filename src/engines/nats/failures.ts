import { type ErrorCode, type Outcome, TenonError } from "../../contracts/errors.ts";
import { readOf } from "../shared/passing.ts";

/** What JetStream answers instead of what was asked for. */
export interface ApiError {
  readonly code: number;
  readonly err_code?: number | undefined;
  readonly description?: string | undefined;
}

/** As the server numbers its errors. */
export const apiErrors = {
  wrongLastSequence: 10_071,
  noMessage: 10_037,
  streamNotFound: 10_059,
  streamExists: 10_058,
  subjectsOverlap: 10_065,
  insufficientResources: 10_023,
  storageExceeded: 10_047,
  memoryExceeded: 10_028,
  storeFailed: 10_077,
  notEnabled: 10_076,
  notEnabledForAccount: 10_039,
  sealed: 10_109,
} as const;

const roomErrors: readonly number[] = [
  apiErrors.insufficientResources,
  apiErrors.storageExceeded,
  apiErrors.memoryExceeded,
  apiErrors.storeFailed,
];

/** The server answered that it has not done it. */
export function refusedBy(error: ApiError, what: string): TenonError {
  const number = error.err_code ?? error.code;
  const fields = { errorCode: number };
  const said = `${error.description ?? "no reason given"} (${number})`;
  if (number === apiErrors.streamNotFound) {
    const text = `A stream that ${what} needs is not there. Make it with the option streams: "make", or by migrate().`;
    return new TenonError("not-found", text, { fields });
  }
  if (number === apiErrors.notEnabled || number === apiErrors.notEnabledForAccount) {
    const text = `JetStream is not enabled for this user: ${said}. Enable it in the server's configuration and for the account.`;
    return new TenonError("unsupported", text, { fields });
  }
  if (roomErrors.includes(number)) {
    const text = `JetStream has no room for ${what}: ${said}. Give it more storage, or try again later.`;
    return new TenonError("overloaded", text, { fields });
  }
  if (error.code === 503) {
    return new TenonError("unavailable", `JetStream cannot serve ${what} now: ${said}. Try again.`, { fields });
  }
  const text = `JetStream refused ${what}: ${said}. What is stored may come from another program or version.`;
  return new TenonError("conflict", text, { fields });
}

/** The client wraps what went wrong: the names of an error and of what caused it. */
function namesOf(error: unknown): readonly string[] {
  const names: string[] = [];
  for (let each = error; each instanceof Error && names.length < 5; each = each.cause) names.push(each.name);
  return names;
}

/** Nobody listens to what was asked: JetStream, or the stream, is not there or not there yet. */
export function isNoResponder(error: unknown): boolean {
  return namesOf(error).includes("NoRespondersError");
}

export function isTimeout(error: unknown): boolean {
  return namesOf(error).includes("TimeoutError");
}

export function isDenied(error: unknown): boolean {
  return namesOf(error).some((name) => name === "PermissionViolationError" || name === "AuthorizationError");
}

export function denied(what: string, cause: unknown): TenonError {
  const text = `NATS refused ${what}: the user may not do it. Grant what docs/nats.md lists, or mend the credentials.`;
  return new TenonError("denied", text, { cause: plain(cause) });
}

/** The connection ended, or nothing was answered in time. */
export function lost(what: string, timeoutMs: number, outcome: Outcome, cause?: unknown): TenonError {
  const then =
    outcome === "unknown"
      ? "It may have happened; look, or repeat it where that is safe."
      : "It has not happened; try again.";
  const text = `NATS did not answer ${what}: the connection was lost, or nothing came within ${timeoutMs} ms. ${then}`;
  return new TenonError("unavailable", text, { outcome, fields: { timeoutMs }, cause: plain(cause) });
}

export function unreachable(what: string, timeoutMs: number, cause?: unknown): TenonError {
  const text = `NATS could not be reached for ${timeoutMs} ms, or its JetStream did not answer, and ${what} was not carried out. Try again later.`;
  return new TenonError("unavailable", text, { fields: { timeoutMs }, cause: plain(cause) });
}

export function closed(what: string, outcome: Outcome = "not-applied"): TenonError {
  const then = outcome === "unknown" ? "may have happened" : "was not carried out";
  return new TenonError("closed", `The NATS engine was closed; ${what} ${then}.`, { outcome });
}

export function unsupported(text: string): TenonError {
  return new TenonError("unsupported" satisfies ErrorCode, text);
}

/** Of a client's errors only name and message are kept. */
export function plain(error: unknown): Error | undefined {
  if (error === undefined) return undefined;
  const kept = new Error(error instanceof Error ? error.message : String(error));
  kept.name = error instanceof Error ? error.name : "Error";
  return kept;
}

export const asRead = readOf("NATS");
