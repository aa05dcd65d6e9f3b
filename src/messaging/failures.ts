import { TenonError } from "../contracts/errors.ts";

/** Engines throw `TenonError` only; anything else is a fault of theirs, after which nothing is known. */
export function asTenonError(error: unknown, doing: string): TenonError {
  if (error instanceof TenonError) return error;
  return new TenonError("unavailable", `${doing} The engine failed in an unexpected way; see the cause.`, {
    outcome: "unknown",
    cause: error,
  });
}

/** What a log line may say of an error: no stack and no cause, which may quote payloads. */
export function describeError(error: unknown): string {
  try {
    if (error instanceof TenonError) return `${error.code}: ${error.message}`;
    if (error instanceof Error) return `${error.name}: ${error.message}`;
    return `a thrown value of type ${typeof error}`;
  } catch {
    return "an error that cannot be described";
  }
}
