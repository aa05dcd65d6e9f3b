import { TenonError } from "../../../contracts/errors.ts";
import type { KeyValueEntry } from "../../../contracts/key-value.ts";
import { keyOf } from "../../shared/key-values/names.ts";
import { bytesOf, type KeyValue } from "../wire.ts";

/**
 * So many commits can share a revision, as they go with one transaction: a version is the revision and the commit's place in it. With it versions stay exact as
 * numbers for 2^46 revisions.
 */
export const placesMax = 128;

/** Greater than every version of the revision. */
export function lastVersionOf(revision: number): number {
  return revision * placesMax + placesMax - 1;
}

export function versionOf(revision: number, place: number): number {
  return revision * placesMax + place;
}

/** What begins a value: 1 or 2 (with the end), the place of the commit in its revision, and the end in ms since the epoch. */
const kinds = { endless: 1, ending: 2 } as const;
const endlessBytes = 2;
const endingBytes = 10;

export function encodeValue(value: Uint8Array, place: number, expiresAt: number | undefined): Buffer {
  const headBytes = expiresAt === undefined ? endlessBytes : endingBytes;
  const bytes = Buffer.allocUnsafe(headBytes + value.length);
  bytes[0] = expiresAt === undefined ? kinds.endless : kinds.ending;
  bytes[1] = place;
  if (expiresAt !== undefined) bytes.writeDoubleLE(expiresAt, 2);
  bytes.set(value, headBytes);
  return bytes;
}

/** An entry, and the revision that wrote it. */
export interface StoredEntry {
  readonly entry: KeyValueEntry;
  readonly revision: number;
}

export function decodeEntry(pair: KeyValue, prefixBytes: number): StoredEntry {
  const key = keyOf(bytesOf(pair.key).subarray(prefixBytes));
  const bytes = bytesOf(pair.value);
  const [kind, place] = bytes;
  const isWhole = kind === kinds.endless ? bytes.length >= endlessBytes : bytes.length >= endingBytes;
  if ((kind !== kinds.endless && kind !== kinds.ending) || place === undefined || !isWhole) {
    const text = `the value of ${key} is not what was written; something else writes under this engine's prefix, or another version`;
    throw new TenonError("corrupt", text, { fields: { key } });
  }
  const isEnding = kind === kinds.ending;
  const revision = Number(pair.mod_revision);
  const entry = {
    key,
    value: bytes.subarray(isEnding ? endingBytes : endlessBytes),
    version: BigInt(versionOf(revision, place)),
    expiresAt: isEnding ? bytes.readDoubleLE(2) : undefined,
  };
  return { entry, revision };
}
