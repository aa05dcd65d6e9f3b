import type { KeyValueEntry } from "../../../contracts/key-value.ts";
import { ByteReader, ByteWriter } from "../../shared/binary.ts";
import type { StoredMessage } from "../jet-stream.ts";

const format = 1;
const kinds = { value: 0, deleted: 1 } as const;
/** Whether the end is an instant, or so many ms after the server stored the message. */
const ends = { never: 0, at: 1, after: 2 } as const;

export type ValueEnd = undefined | { readonly at: number } | { readonly afterMs: number };

/** What a key's message says. */
export interface StoredValue {
  readonly sequence: number;
  /** When the server stored it. */
  readonly storedAt: number;
  /** `undefined`: it was deleted. */
  readonly value: Buffer | undefined;
  readonly expiresAt: number | undefined;
}

export function encodeValue(value: Uint8Array, end: ValueEnd): Buffer {
  const writer = new ByteWriter().u8(format).u8(kinds.value);
  if (end === undefined) writer.u8(ends.never);
  else if ("at" in end) writer.u8(ends.at).f64(end.at);
  else writer.u8(ends.after).f64(end.afterMs);
  return Buffer.concat([writer.done(), value]);
}

export const deletedValue: Buffer = new ByteWriter().u8(format).u8(kinds.deleted).done();

export function decodeValue({ sequence, storedAt, data }: StoredMessage): StoredValue {
  const reader = new ByteReader(data, "a key's value");
  if (reader.u8() !== format) throw reader.corrupt();
  if (reader.u8() === kinds.deleted) return { sequence, storedAt, value: undefined, expiresAt: undefined };
  const how = reader.u8();
  let expiresAt: number | undefined;
  if (how === ends.at) expiresAt = reader.f64();
  else if (how === ends.after) expiresAt = storedAt + reader.f64();
  return { sequence, storedAt, value: reader.rest(), expiresAt };
}

/** What is there at this instant of the server's clock. */
export function entryOf(key: string, stored: StoredValue | undefined, now: number): KeyValueEntry | undefined {
  if (stored?.value === undefined) return undefined;
  const { value, expiresAt, sequence } = stored;
  if (expiresAt !== undefined && expiresAt <= now) return undefined;
  return { key, value, version: BigInt(sequence), expiresAt };
}
