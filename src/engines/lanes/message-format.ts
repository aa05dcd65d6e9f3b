import { TenonError } from "../../contracts/errors.ts";
import type { MessageHeaders, NewMessage, Stored } from "../../contracts/messages.ts";
import { keepShape } from "../../world/kept-shapes.ts";
import { utf8Length, writeUtf8 } from "../shared/utf8.ts";
import { readKey } from "./keys-seen.ts";
import type { FetchedRun } from "./lane-store.ts";
import { toPosition } from "./positions.ts";

/**
 * How a message is packed within a run; little endian:
 *
 *     flags u8 · [key length u16] · [id length u8] · [headers length u32] · body length u32 · key · id · headers · body
 *
 * Headers are JSON text. Journals and servers hold messages in this form: another one is another version of all of them.
 */
export const messageFlag = { key: 1, id: 2, headers: 4 } as const;
/** What stands before a message's content, by its flags. */
const lengthsBytes = [5, 7, 6, 8, 9, 11, 10, 12];

export function packHeaders(headers: MessageHeaders): Buffer {
  return Buffer.from(JSON.stringify(headers));
}

/** What a message takes when its headers take `headersBytes` (-1: it has none). */
export function packedBytes(message: NewMessage, headersBytes: number): number {
  let bytes = 5 + message.body.length;
  if (message.key !== undefined) bytes += 2 + utf8Length(message.key);
  if (message.id !== undefined) bytes += 1 + utf8Length(message.id);
  if (headersBytes >= 0) bytes += 4 + headersBytes;
  return bytes;
}

/** Packs a message at `start` and answers the position behind it. */
export function packMessage(buffer: Buffer, start: number, message: NewMessage, headers: Buffer | undefined): number {
  const { key, id, body } = message;
  let at = start + 1;
  let flags = 0;
  let keyLength = 0;
  let idLength = 0;
  if (key !== undefined) {
    flags |= messageFlag.key;
    keyLength = utf8Length(key);
    at = buffer.writeUInt16LE(keyLength, at);
  }
  if (id !== undefined) {
    flags |= messageFlag.id;
    idLength = utf8Length(id);
    at = buffer.writeUInt8(idLength, at);
  }
  if (headers !== undefined) {
    flags |= messageFlag.headers;
    at = buffer.writeUInt32LE(headers.length, at);
  }
  at = buffer.writeUInt32LE(body.length, at);
  buffer[start] = flags;
  if (key !== undefined) at = writeUtf8(buffer, at, key, keyLength);
  if (id !== undefined) at = writeUtf8(buffer, at, id, idLength);
  if (headers !== undefined) {
    buffer.set(headers, at);
    at += headers.length;
  }
  buffer.set(body, at);
  return at + body.length;
}

/** A message where it lies in its run. What is not asked for at once is made when it is: then most of it does not outlive its handler. */
class StoredMessage implements Stored {
  readonly key: string | undefined;
  readonly headers: MessageHeaders | undefined;
  readonly id: string | undefined;
  readonly sizeBytes: number;
  readonly #run: Run;
  readonly #position: number;
  readonly #bodyFrom: number;
  readonly #bodyTo: number;

  constructor(
    run: Run,
    position: number,
    key: string | undefined,
    id: string | undefined,
    headers: MessageHeaders | undefined,
    sizeBytes: number,
    bodyFrom: number,
    bodyTo: number,
  ) {
    this.key = key;
    this.headers = headers;
    this.id = id;
    this.sizeBytes = sizeBytes;
    this.#run = run;
    this.#position = position;
    this.#bodyFrom = bodyFrom;
    this.#bodyTo = bodyTo;
  }

  get position(): bigint {
    return toPosition(this.#position);
  }

  get body(): Uint8Array {
    return this.#run.bytes.subarray(this.#bodyFrom, this.#bodyTo);
  }

  get publishedAt(): number {
    return this.#run.publishedAt;
  }
}

/** A run as it is stored, and how far it was read. Bodies are parts of its bytes. */
export class Run implements FetchedRun {
  readonly end: number;
  position: number;
  readonly publishedAt: number;
  readonly bytes: Buffer;
  /** Of the same bytes: reading a number by a buffer's own methods costs three times as much. */
  readonly #view: DataView;
  #at = 0;

  constructor(end: number, count: number, publishedAt: number, bytes: Buffer) {
    this.end = end;
    this.position = end - count;
    this.publishedAt = publishedAt;
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get sizeBytes(): number {
    return this.bytes.length;
  }

  skip(): void {
    const view = this.#view;
    const flags = this.#flags();
    let at = this.#at + 1;
    let length = 0;
    if (flags & messageFlag.key) {
      length += view.getUint16(at, true);
      at += 2;
    }
    if (flags & messageFlag.id) {
      length += view.getUint8(at);
      at += 1;
    }
    if (flags & messageFlag.headers) {
      length += view.getUint32(at, true);
      at += 4;
    }
    length += view.getUint32(at, true);
    this.#goTo(at + 4 + length);
  }

  read(): Stored {
    const { bytes, position } = this;
    const view = this.#view;
    const flags = this.#flags();
    const start = this.#at;
    let at = start + 1;
    let keyLength = 0;
    let idLength = 0;
    let headersLength = 0;
    if (flags & messageFlag.key) {
      keyLength = view.getUint16(at, true);
      at += 2;
    }
    if (flags & messageFlag.id) {
      idLength = view.getUint8(at);
      at += 1;
    }
    if (flags & messageFlag.headers) {
      headersLength = view.getUint32(at, true);
      at += 4;
    }
    const bodyLength = view.getUint32(at, true);
    at += 4;
    const idAt = at + keyLength;
    const headersAt = idAt + idLength;
    const bodyAt = headersAt + headersLength;
    const end = bodyAt + bodyLength;
    this.#goTo(end);
    const key = flags & messageFlag.key ? readKey(bytes, view, at, idAt) : undefined;
    const id = flags & messageFlag.id ? bytes.toString("utf8", idAt, headersAt) : undefined;
    const headers = flags & messageFlag.headers ? readHeaders(bytes.subarray(headersAt, bodyAt), position) : undefined;
    return new StoredMessage(this, position, key, id, headers, end - start, bodyAt, end);
  }

  #flags(): number {
    const flags = this.bytes[this.#at];
    if (flags === undefined || this.#at + lengthsBytes[flags & 7]! > this.bytes.length) throw unreadable(this.position);
    return flags;
  }

  #goTo(at: number): void {
    if (at > this.bytes.length) throw unreadable(this.position);
    this.#at = at;
    this.position += 1;
  }
}

keepShape(new StoredMessage(new Run(0, 0, 0, Buffer.alloc(0)), 0, undefined, undefined, undefined, 0, 0, 0));

function readHeaders(bytes: Buffer, position: number): MessageHeaders {
  try {
    return JSON.parse(bytes.toString("utf8")) as MessageHeaders;
  } catch {
    throw unreadable(position);
  }
}

function unreadable(position: number): TenonError {
  const text = `the message at position ${position} is not what was written; something else writes under this engine's prefix, or the server lost data`;
  return new TenonError("corrupt", text, { fields: { position } });
}
