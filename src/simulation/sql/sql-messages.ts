import { type ErrorCode, type Outcome, TenonError } from "../../contracts/errors.ts";
import type { SqlRow, SqlValue } from "../../contracts/sql.ts";

/** What the client of a simulated database asks, one thing at a time. */
export type SqlRequest =
  | { readonly type: "begin" }
  | { readonly type: "commit" }
  | { readonly type: "rollback" }
  | { readonly type: "execute" | "query"; readonly sql: string; readonly parameters: readonly SqlValue[] };

export type SqlReply =
  | { readonly type: "done" }
  | { readonly type: "changed"; readonly count: number }
  | { readonly type: "rows"; readonly rows: readonly SqlRow[] }
  | { readonly type: "failed"; readonly failure: SqlFailure };

/** An error on its way: SQLite's own, or one that Tenon's engines have too. */
export type SqlFailure =
  | { readonly of: "sqlite"; readonly message: string; readonly errcode: number; readonly errstr: string }
  | { readonly of: "tenon"; readonly message: string; readonly code: ErrorCode; readonly outcome: Outcome };

/** What JSON has no form for is an array, which no value is. */
type EncodedValue = string | number | null | readonly ["integer" | "bytes" | "real", string];

type EncodedRows = { readonly columns: readonly string[]; readonly values: readonly (readonly EncodedValue[])[] };

export function encodeRequest(request: SqlRequest): Uint8Array {
  if (!("sql" in request)) return toBytes(request);
  return toBytes({ ...request, parameters: request.parameters.map(encodeValue) });
}

export function decodeRequest(bytes: Uint8Array): SqlRequest {
  const request = fromBytes(bytes) as { type: "begin" } | { type: "query"; sql: string; parameters: EncodedValue[] };
  return "sql" in request ? { ...request, parameters: request.parameters.map(decodeValue) } : request;
}

export function encodeReply(reply: SqlReply): Uint8Array {
  if (reply.type !== "rows") return toBytes(reply);
  const columns = Object.keys(reply.rows[0] ?? {});
  const values = reply.rows.map((row) => columns.map((column) => encodeValue(row[column]!)));
  return toBytes({ type: "rows", rows: { columns, values } satisfies EncodedRows });
}

export function decodeReply(bytes: Uint8Array): SqlReply {
  const reply = fromBytes(bytes) as Exclude<SqlReply, { type: "rows" }> | { type: "rows"; rows: EncodedRows };
  if (reply.type !== "rows") return reply;
  const { columns, values } = reply.rows;
  const rows = values.map((row) => Object.fromEntries(columns.map((column, at) => [column, decodeValue(row[at]!)])));
  return { type: "rows", rows };
}

export function failureOf(error: unknown): SqlFailure {
  if (error instanceof TenonError)
    return { of: "tenon", message: error.message, code: error.code, outcome: error.outcome };
  const { message, errcode = 1, errstr = "" } = error as Error & { errcode?: number; errstr?: string };
  return { of: "sqlite", message, errcode, errstr };
}

/** As `node:sqlite` would have thrown it, or Tenon's engine. */
export function errorOf(failure: SqlFailure): Error {
  if (failure.of === "tenon") return new TenonError(failure.code, failure.message, { outcome: failure.outcome });
  const { message, errcode, errstr } = failure;
  return Object.assign(new Error(message), { code: "ERR_SQLITE_ERROR", errcode, errstr });
}

/** Throws what `node:sqlite` throws for most of what is no value: on the way to the database it would become one. */
export function requireValues(parameters: readonly unknown[]): void {
  for (const [at, value] of parameters.entries()) {
    if (value === null || ["string", "number", "bigint"].includes(typeof value) || value instanceof Uint8Array)
      continue;
    const message = `Provided value cannot be bound to SQLite parameter ${at + 1}.`;
    throw Object.assign(new TypeError(message), { code: "ERR_INVALID_ARG_TYPE" });
  }
}

function encodeValue(value: SqlValue): EncodedValue {
  if (typeof value === "bigint") return ["integer", String(value)];
  if (value instanceof Uint8Array) return ["bytes", Buffer.from(value).toString("base64")];
  return typeof value === "number" && !Number.isFinite(value) ? ["real", String(value)] : value;
}

function decodeValue(value: EncodedValue): SqlValue {
  if (!Array.isArray(value)) return value as string | number | null;
  const [type, text] = value as readonly [string, string];
  if (type === "bytes") return new Uint8Array(Buffer.from(text, "base64"));
  return type === "integer" ? BigInt(text) : Number(text);
}

function toBytes(message: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(message));
}

function fromBytes(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
}
