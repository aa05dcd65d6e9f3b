import type { MysqlField } from "./clients.ts";
import { largest } from "./literals.ts";

/** Smaller ones do not keep alive what the socket read them with. */
const copiedBytes = 4_096;

/** Integers are numbers while that is exact and bigints beyond; everything that is no number is bytes. */
export function decoded(field: MysqlField): unknown {
  switch (field.type) {
    case "TINY":
    case "SHORT":
    case "INT24":
    case "LONG":
    case "LONGLONG":
      return integer(field.string("latin1"));
    case "FLOAT":
    case "DOUBLE":
    case "DECIMAL":
    case "NEWDECIMAL":
      return decimal(field.string("latin1"));
    default:
      return bytes(field.buffer());
  }
}

function integer(text: string | null): number | bigint | null {
  if (text === null) return null;
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text);
}

function decimal(text: string | null): number | null {
  if (text === null) return null;
  const number = Number(text);
  return number >= largest ? Number.POSITIVE_INFINITY : number;
}

function bytes(value: Buffer | null): Buffer | null {
  return value !== null && value.length < copiedBytes ? Buffer.from(value) : value;
}
