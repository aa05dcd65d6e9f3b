import { type ErrorCode, TenonError } from "../../contracts/errors.ts";

/** Primary result codes of SQLite (sqlite.org/rescode.html). */
const busy = 5;
const locked = 6;
const inputOutput = 10;
const corrupt = 11;
const full = 13;
const notADatabase = 26;

export function isOpenBefore(): TenonError {
  return new TenonError(
    "conflict",
    "A transaction that is not Tenon's is open on this SQLite connection. End it first, or give Tenon a connection of its own.",
  );
}

export function refused(cause: unknown): TenonError {
  const { code, reason } = describe(cause);
  return new TenonError(code, `SQLite refused a transaction: ${reason}.`, { cause });
}

/** After an input or output error it is not known what reached the disk; after any other the transaction was rolled back. */
export function commitFailed(cause: unknown): TenonError {
  const { code, reason } = describe(cause);
  const outcome = primaryCode(cause) === inputOutput ? "unknown" : "not-applied";
  return new TenonError(code, `A SQLite transaction could not be committed: ${reason}.`, { cause, outcome });
}

function describe(cause: unknown): { readonly code: ErrorCode; readonly reason: string } {
  if ((cause as { code?: unknown } | undefined)?.code === "ERR_INVALID_STATE") {
    return { code: "closed", reason: "the database is closed; keep it open until every consumer has drained" };
  }
  switch (primaryCode(cause)) {
    case busy:
    case locked:
      return {
        code: "unavailable",
        reason: "another connection holds the write lock; try again, or set a busy timeout on the database",
      };
    case full:
      return { code: "overloaded", reason: "the disk is full; free some space" };
    case corrupt:
    case notADatabase:
      return { code: "corrupt", reason: "the file is damaged; restore it from a backup" };
    case inputOutput:
      return {
        code: "unavailable",
        reason: "the disk failed; look at the cause, and check what the database holds before going on",
      };
    default:
      return { code: "conflict", reason: "look at the cause" };
  }
}

/** The lowest byte; the others refine it. */
function primaryCode(cause: unknown): number | undefined {
  const errcode = (cause as { errcode?: unknown } | undefined)?.errcode;
  return typeof errcode === "number" ? errcode & 0xff : undefined;
}
