import type { KeyValueEntry } from "../../../contracts/key-value.ts";

const headerBytes = 16;

/** An entry as it stands in the hash: version (f64), when it expires in ms (f64, infinite: never), value. */
export function entryOf(key: string, raw: Buffer): KeyValueEntry {
  const expiresAt = raw.readDoubleLE(8);
  return {
    key,
    value: ownValue(raw),
    version: BigInt(raw.readDoubleLE(0)),
    expiresAt: expiresAt === Number.POSITIVE_INFINITY ? undefined : expiresAt,
  };
}

/** A small value that is part of a large reply would keep all of the reply in memory for as long as somebody keeps the value. */
function ownValue(raw: Buffer): Uint8Array {
  const value = raw.subarray(headerBytes);
  return value.byteLength * 2 < raw.buffer.byteLength ? new Uint8Array(value) : value;
}
