import type { KeyValueEntry } from "../../../contracts/key-value.ts";
import { utf8Length, writeUtf8 } from "../../shared/utf8.ts";
import { type Reader, stringBytes, type Writer } from "../cursor.ts";
import type { Position } from "../journal/journal.ts";

/**
 * A commit's effects, not its conditions, are what is stored, so replaying needs no clock:
 *
 *     version f64 · flags u8 · count u32 · count × change
 *     change: flags u8 · key length u16 · key · [expires at f64] · [value length u32 · value]
 */
export interface StoredEntry {
  readonly key: string;
  /**
   * Its bytes as a string, one character each: a small array of bytes would take ten times the memory. `undefined`: the value is large and lies in
   * the journal at `position`, `at` bytes into the payload.
   */
  readonly value: string | undefined;
  readonly valueBytes: number;
  readonly version: number;
  /** `Infinity`: never. */
  readonly expiresAt: number;
  readonly position: Position;
  /** Where in the record's payload the value starts. */
  readonly at: number;
  /** The journal batch that carries it. */
  readonly batch: number;
}

/** What a commit does to one key. */
export type Effect =
  | { readonly type: "put"; readonly key: string; readonly value: Uint8Array; readonly expiresAt: number }
  | { readonly type: "delete"; readonly key: string };

const changeFlag = { put: 1, expires: 2 } as const;
const commitHeaderBytes = 8 + 1 + 4;
/** Values up to this size stay in memory; larger ones are read from the journal when asked for. */
export const inlineBytesMax = 1_024;
/** Values up to this size are repeated in the footer's index. */
export const footerBytesMax = 64;

export function effectsBytes(effects: readonly Effect[]): number {
  let bytes = commitHeaderBytes;
  for (const effect of effects) {
    bytes += 1 + stringBytes(effect.key);
    if (effect.type === "put") bytes += (effect.expiresAt === Infinity ? 0 : 8) + 4 + effect.value.length;
  }
  return bytes;
}

/**
 * Writes the commit and answers where each put's value starts, counted from `start`. `moved`: the entries keep the
 * versions they had, and each record holds one of them.
 */
export function writeEffects(
  writer: Writer,
  version: number,
  moved: boolean,
  effects: readonly Effect[],
): readonly number[] {
  const start = writer.at;
  const starts: number[] = [];
  writer
    .f64(version)
    .u8(moved ? 1 : 0)
    .u32(effects.length);
  for (const effect of effects) {
    const flags =
      effect.type === "delete" ? 0 : changeFlag.put | (effect.expiresAt === Infinity ? 0 : changeFlag.expires);
    writer.u8(flags);
    const length = utf8Length(effect.key);
    writer.u16(length);
    writer.at = writeUtf8(writer.buffer, writer.at, effect.key, length);
    if (effect.type === "put") {
      if (effect.expiresAt !== Infinity) writer.f64(effect.expiresAt);
      writer.u32(effect.value.length);
      starts.push(writer.at - start);
      writer.bytes(effect.value);
    } else starts.push(0);
  }
  return starts;
}

export interface ReplayedCommit {
  readonly version: number;
  readonly moved: boolean;
  readonly effects: readonly Effect[];
  readonly starts: readonly number[];
}

/** The values are views of the payload, and as long-lived as it is. */
export function readEffects(reader: Reader): ReplayedCommit {
  const version = reader.f64();
  const moved = reader.u8() === 1;
  const effects: Effect[] = [];
  const starts: number[] = [];
  for (let left = reader.u32(); left > 0; left--) {
    const flags = reader.u8();
    const key = reader.string();
    if (!(flags & changeFlag.put)) {
      effects.push({ type: "delete", key });
      starts.push(0);
      continue;
    }
    const expiresAt = flags & changeFlag.expires ? reader.f64() : Infinity;
    const length = reader.u32();
    starts.push(reader.at);
    const value = reader.bytes(length);
    effects.push({ type: "put", key, value, expiresAt });
  }
  return { version, moved, effects, starts };
}

const footerFlag = { present: 1, inline: 2 } as const;

/** The footer's section of key-values: the last state of every key that its segment touched, deletes included. */
export function encodeFooterEntries(
  touched: ReadonlyMap<string, StoredEntry | undefined>,
  inlineMax = footerBytesMax,
): Buffer {
  let bytes = 8;
  for (const [key, entry] of touched) bytes += footerEntryBytes(key, entry, inlineMax);
  const buffer = Buffer.allocUnsafe(bytes);
  const offset = buffer.writeUInt32LE(bytes, 0);
  let at = buffer.writeUInt32LE(touched.size, offset);
  for (const [key, entry] of touched) at = writeFooterEntry(buffer, at, key, entry, inlineMax);
  return buffer;
}

function inFooter(entry: StoredEntry, inlineMax: number): boolean {
  return entry.value !== undefined && entry.valueBytes <= inlineMax;
}

function footerEntryBytes(key: string, entry: StoredEntry | undefined, inlineMax: number): number {
  if (entry === undefined) return 1 + stringBytes(key);
  return 1 + stringBytes(key) + 8 + 8 + 8 + 4 + 4 + (inFooter(entry, inlineMax) ? entry.valueBytes : 0);
}

function writeFooterEntry(
  buffer: Buffer,
  start: number,
  key: string,
  entry: StoredEntry | undefined,
  inlineMax: number,
): number {
  const length = utf8Length(key);
  const inline = entry !== undefined && inFooter(entry, inlineMax);
  const flags = entry === undefined ? 0 : footerFlag.present | (inline ? footerFlag.inline : 0);
  let at = buffer.writeUInt8(flags, start);
  at = buffer.writeUInt16LE(length, at);
  at = writeUtf8(buffer, at, key, length);
  if (entry === undefined) return at;
  at = buffer.writeDoubleLE(entry.version, at);
  at = buffer.writeDoubleLE(entry.expiresAt, at);
  at = buffer.writeDoubleLE(entry.position, at);
  at = buffer.writeUInt32LE(entry.at, at);
  at = buffer.writeUInt32LE(entry.valueBytes, at);
  if (inline) {
    at += buffer.write(entry.value!, at, "latin1");
  }
  return at;
}

/** Calls back with each entry of the section; `undefined` for a key that was deleted. */
export function decodeFooterEntries(
  reader: Reader,
  found: (key: string, entry: StoredEntry | undefined) => void,
): void {
  reader.u32();
  for (let left = reader.u32(); left > 0; left--) {
    const flags = reader.u8();
    const key = reader.string();
    if (!(flags & footerFlag.present)) {
      found(key, undefined);
      continue;
    }
    const version = reader.f64();
    const expiresAt = reader.f64();
    const position = reader.f64();
    const at = reader.u32();
    const valueBytes = reader.u32();
    const value = flags & footerFlag.inline ? reader.bytes(valueBytes).toString("latin1") : undefined;
    found(key, { key, value, valueBytes, version, expiresAt, position, at, batch: 0 });
  }
}

export function textOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}

export function bytesOfText(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

export function publicEntry(entry: StoredEntry, value: Uint8Array): KeyValueEntry {
  return {
    key: entry.key,
    value,
    version: BigInt(entry.version),
    expiresAt: entry.expiresAt === Infinity ? undefined : entry.expiresAt,
  };
}
