import { TenonError } from "../../contracts/errors.ts";

/**
 * The five characters by which PostgreSQL names an error (Appendix A of its manual); `undefined` when it did not answer. No class begins with E, and `EPIPE` is the
 * operating system's.
 */
export function sqlStateOf(cause: unknown): string | undefined {
  const { code } = (cause ?? {}) as { code?: unknown };
  return typeof code === "string" && /^(?!E)[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** Whether the session is over: the connection broke, or the server ends it with this error. */
export function endsSession(cause: unknown): boolean {
  const state = sqlStateOf(cause);
  return state === undefined || state.startsWith("57P") || state.startsWith("08");
}

export function noConnection(cause: unknown, ended: boolean): TenonError {
  if (ended) {
    const message =
      "The PostgreSQL pool has ended; keep it open until every consumer has drained. The transaction was not begun.";
    return new TenonError("closed", message, { cause });
  }
  const tooMany = sqlStateOf(cause) === "53300";
  const step = tooMany
    ? "the server has no connection left; lower the pools' sizes, or raise max_connections"
    : "look at the cause, and try again";
  return new TenonError(
    "unavailable",
    `No PostgreSQL connection could be had: ${step}. The transaction was not begun.`,
    {
      cause,
    },
  );
}

/** Asked for once the work is done. Without an answer nobody knows whether the server has committed. */
export function commitFailed(cause: unknown): TenonError {
  const state = sqlStateOf(cause);
  if (state === undefined || state.startsWith("08") || state.startsWith("57P")) {
    return new TenonError(
      "unavailable",
      "The connection to PostgreSQL was lost while a transaction was being committed: it may be committed or not. Repeat it only if it is idempotent.",
      { cause, outcome: "unknown" },
    );
  }
  if (state === "40001" || state === "40P01") return collided(cause);
  return new TenonError("conflict", `PostgreSQL refused to commit a transaction (${state}); look at the cause.`, {
    cause,
    fields: { sqlState: state },
  });
}

/** A serialization failure or a deadlock: PostgreSQL has rolled back, and the same work may succeed when it is repeated. */
export function collided(cause: unknown): TenonError {
  return new TenonError(
    "conflict",
    "PostgreSQL rolled a transaction back because it collided with another one. Repeat the transaction from its beginning.",
    { cause, fields: { sqlState: sqlStateOf(cause) ?? "" } },
  );
}

export function rolledBack(): TenonError {
  return new TenonError(
    "conflict",
    "PostgreSQL rolled the transaction back at its end, because one of its statements had failed and the work ignored that. Let the error pass out of the work.",
  );
}

export function nested(): TenonError {
  return new TenonError(
    "conflict",
    "transaction() was called inside a transaction of the same pool, which can wait for itself when the pool is used up. Use the transaction at hand, or start the other one after its end.",
  );
}
