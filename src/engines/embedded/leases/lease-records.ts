import { utf8Length, writeUtf8 } from "../../shared/utf8.ts";
import { Reader, Writer } from "../cursor.ts";

/** What is stored of one holder of a name; one entry each, so that renewing costs the same however many there are. */
export interface StoredHolder {
  readonly token: number;
  readonly weight: number;
  readonly capacity: number;
  readonly ttlMs: number;
  /** ms since the epoch. */
  readonly expiresAt: number;
  readonly data: string | undefined;
}

const prefix = "l";

/** `l`, the length of the name in UTF-16 code units, a colon, the name, the holder: whatever the two hold, no two keys are the same. */
export function holderKey(name: string, holder: string): string {
  return `${prefix}${name.length}:${name}${holder}`;
}

/** `undefined` for a key that is not of a holder. */
export function parseHolderKey(key: string): { readonly name: string; readonly holder: string } | undefined {
  if (!key.startsWith(prefix)) return undefined;
  const colon = key.indexOf(":");
  const nameEnd = colon + 1 + Number(key.slice(prefix.length, colon));
  return { name: key.slice(colon + 1, nameEnd), holder: key.slice(nameEnd) };
}

/** `token f64 · weight u32 · capacity u32 · time to live f64 · expires at f64 · has data u8 · data`. */
export function encodeHolder(stored: StoredHolder): Buffer {
  const { data } = stored;
  const dataBytes = data === undefined ? 0 : utf8Length(data);
  const writer = new Writer(Buffer.allocUnsafe(33 + dataBytes))
    .f64(stored.token)
    .u32(stored.weight)
    .u32(stored.capacity)
    .f64(stored.ttlMs)
    .f64(stored.expiresAt)
    .u8(data === undefined ? 0 : 1);
  if (data !== undefined) writeUtf8(writer.buffer, writer.at, data, dataBytes);
  return writer.buffer;
}

export function decodeHolder(value: Buffer): StoredHolder {
  const reader = new Reader(value);
  const token = reader.f64();
  const weight = reader.u32();
  const capacity = reader.u32();
  const ttlMs = reader.f64();
  const expiresAt = reader.f64();
  const data = reader.u8() === 0 ? undefined : reader.bytes(value.length - reader.at).toString("utf8");
  return { token, weight, capacity, ttlMs, expiresAt, data };
}
