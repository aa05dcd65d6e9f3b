import { type ErrorCode, type Outcome, TenonError } from "../../contracts/errors.ts";
import { lost } from "../relational/failures.ts";
import { sqlStateOf } from "./failures.ts";

/** Whether the same transaction may succeed when it is repeated: the server has rolled it back. */
export function isCollision(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === "40001" || state === "40P01";
}

/** The server ends the session with this error, or the connection is gone. */
export function isEnd(error: unknown): boolean {
  const state = sqlStateOf(error);
  // 25P03: a transaction that stood idle for too long.
  return state === undefined || state.startsWith("57P") || state.startsWith("08") || state === "25P03";
}

/** What an error means that the server or the client gave while a statement was under way. `outcome`: when nobody knows whether it was carried out. */
export function failureOf(error: unknown, what: string, outcome: Outcome): TenonError {
  if (error instanceof TenonError) return error;
  const state = sqlStateOf(error);
  if (state === undefined) return lost("PostgreSQL", what, error, outcome);
  const refused = (code: ErrorCode, message: string) => answered(code, message, state);
  if (state === "57P04" || state === "3D000") return refused("not-found", `The database of ${what} is not there.`);
  if (isEnd(error)) return lost("PostgreSQL", what, error, outcome);
  if (isCollision(error))
    return refused("unavailable", `PostgreSQL rolled ${what} back: it collided with others. Try again.`);
  if (state === "55P03" || state === "57014") {
    const text = `PostgreSQL did not come to ${what} in time (${state}); somebody holds what it needs. It was not carried out; try again.`;
    return refused("unavailable", text);
  }
  if (state === "25006")
    return refused(
      "unavailable",
      `The server takes no changes, so ${what} was refused: it is a standby. Connect to the primary.`,
    );
  if (state.startsWith("28") || state === "42501") {
    return refused(
      "denied",
      `PostgreSQL refused ${what} (${state}). Mend the credentials, or grant the rights that docs/postgres.md lists.`,
    );
  }
  if (state.startsWith("53")) {
    return refused(
      "overloaded",
      `PostgreSQL refused ${what} (${state}): it is out of disk, memory or connections. Give it more, or try again later.`,
    );
  }
  if (state === "42P01" || state === "42703" || state === "3F000") {
    return refused(
      "not-found",
      `Tables of this engine are not there, or are others (${state}). Make them with the option tables: "make".`,
    );
  }
  return refused(
    "conflict",
    `PostgreSQL could not carry out ${what} (${state}). What is stored may come from another program or version.`,
  );
}

function answered(code: ErrorCode, message: string, sqlState: string): TenonError {
  return new TenonError(code, message, { fields: { sqlState } });
}
