import type { SqlValue } from "../../contracts/sql.ts";

/** Of the catalogue pg_type. */
const types = { bool: 16, bytea: 17, int8: 20, int2: 21, int4: 23, oid: 26, float4: 700, float8: 701 } as const;

/**
 * Values as `SqlValue`, the same as from SQLite: integers are numbers while that is exact and bigints beyond, booleans 1 and 0,
 * bytea bytes. Everything else is PostgreSQL's own text: numeric, instants, JSON, arrays.
 */
export const valueTypes = {
  getTypeParser(oid: number): (value: string) => SqlValue {
    return parsers[oid] ?? asText;
  },
};

const parsers: Readonly<Record<number, (value: string) => SqlValue>> = {
  [types.bool]: (value) => (value === "t" ? 1 : 0),
  [types.bytea]: (value) => Buffer.from(value.slice(2), "hex"),
  [types.int8]: integer,
  [types.int2]: Number,
  [types.int4]: Number,
  [types.oid]: Number,
  [types.float4]: Number,
  [types.float8]: Number,
};

function integer(value: string): SqlValue {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : BigInt(value);
}

function asText(value: string): SqlValue {
  return value;
}
