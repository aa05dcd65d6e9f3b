import { TenonError } from "../../../contracts/errors.ts";
import { DiskError } from "../../../world/world.ts";
import { RECORD_PAYLOAD_BYTES_MAX } from "./format.ts";

export function corrupt(file: string, offset: number, reason: string): TenonError {
  return new TenonError(
    "corrupt",
    `The journal is damaged: ${reason}, in ${file} at byte ${offset}. Nothing was changed. Restore the file from a copy, or move the directory away to start empty.`,
    { fields: { file, offset } },
  );
}

/** A disk call failed before anything depended on it. */
export function diskFailure(doing: string, path: string, cause: unknown): unknown {
  if (!(cause instanceof DiskError)) return cause;
  const code = cause.failure === "full" ? "overloaded" : cause.failure === "denied" ? "denied" : "unavailable";
  return new TenonError(code, `${doing} failed on ${path}: ${cause.message}`, {
    fields: { file: path, failure: cause.failure },
    cause,
  });
}

/** A write or a sync failed after which nobody can know what is durable. */
export function journalFailure(doing: string, path: string, offset: number, cause: unknown): TenonError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new TenonError(
    "unavailable",
    `${doing} failed on ${path} at byte ${offset}: ${reason}. What waited may be durable or not; the journal is closed, and opening it again decides.`,
    { outcome: "unknown", fields: { file: path, offset }, cause },
  );
}

export function journalClosed(directory: string): TenonError {
  return new TenonError("closed", `The journal in ${directory} is closed; open it again to go on.`, {
    fields: { directory },
  });
}

export function notKept(segment: number, what: string): TenonError {
  return new TenonError("not-found", `No ${what} is kept of segment ${segment}.`, { fields: { segment } });
}

export function recordTooLong(kind: number, length: number): TenonError {
  return new TenonError(
    "invalid",
    `A journal record of kind ${kind} has ${length} bytes; at most ${RECORD_PAYLOAD_BYTES_MAX} are possible. Split the change.`,
    { fields: { kind, lengthBytes: length, lengthBytesMax: RECORD_PAYLOAD_BYTES_MAX } },
  );
}

export function tooMuchForOneBatch(payloadBytes: number, records: number, batchBytesMax: number): TenonError {
  return new TenonError(
    "invalid",
    `${records} journal records of ${payloadBytes} bytes do not fit into one batch of ${batchBytesMax}. Split the change.`,
    { fields: { records, payloadBytes, batchBytesMax } },
  );
}
