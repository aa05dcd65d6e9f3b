import type { Parameter } from "../relational/sql.ts";

/** A DOUBLE has no infinity; this is its largest number. */
export const largest = Number.MAX_VALUE;

const texts = new Map<string, readonly (string | number)[]>();
/** Texts that have been parted; few are made anew. */
const textsMax = 1_000;

/**
 * Puts values into a statement in the places of `$1`, `$2`, … Numbers are written as such and all else in hexadecimal digits, so that nothing has to be escaped. A list becomes `a,b,c`, and `NULL` when it is
 * empty, as in `IN ($1)`; a list of lists becomes rows, as in `VALUES $1`.
 */
export function render(text: string, values: readonly Parameter[]): string {
  if (values.length === 0) return text;
  let rendered = "";
  for (const part of partsOf(text)) rendered += typeof part === "string" ? part : literal(values[part]!);
  return rendered;
}

/** The same with `?` in these places, and what stands there in order. */
export function prepared(text: string, values: readonly Parameter[]): { sql: string; values: Bound[] } {
  const parts = partsOf(text);
  const places = parts.filter((part) => typeof part === "number");
  return {
    sql: parts.map((part) => (typeof part === "string" ? part : "?")).join(""),
    values: places.map((place) => bound(values[place]!)),
  };
}

/** What the client binds as it is. */
export type Bound = number | string | Buffer | null;

function bound(value: Parameter): Bound {
  if (value === null || typeof value === "number") return value;
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "string") return Buffer.from(value);
  if (value instanceof Uint8Array) return bufferOf(value);
  throw new TypeError("a list is no value of a prepared statement");
}

function partsOf(text: string): readonly (string | number)[] {
  const known = texts.get(text);
  if (known !== undefined) return known;
  const parts = text.split(/\$(\d+)/).map((part, index) => (index % 2 === 0 ? part : Number(part) - 1));
  if (texts.size >= textsMax) texts.clear();
  texts.set(text, parts);
  return parts;
}

function literal(value: Parameter): string {
  if (value === null) return "NULL";
  if (typeof value === "number") return number(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value === "string") return `X'${Buffer.from(value).toString("hex")}'`;
  if (value instanceof Uint8Array) return `X'${hex(value)}'`;
  if (value.length === 0) return "NULL";
  return value.map((each) => (Array.isArray(each) ? `(${literal(each)})` : literal(each))).join(",");
}

function number(value: number): string {
  if (Number.isNaN(value)) throw new TypeError("a value of a statement is no number");
  return String(Math.min(Math.max(value, -largest), largest));
}

function hex(bytes: Uint8Array): string {
  return bufferOf(bytes).toString("hex");
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
