import type { MessageHeaders, ProducerMark, Stored } from "../../../contracts/messages.ts";
import { messageFlag } from "../../lanes/message-format.ts";
import { utf8Length } from "../../shared/utf8.ts";
import type { Reader, Writer } from "../cursor.ts";

/**
 * A *run*: messages of one queue with consecutive offsets, stored as one record.
 *
 *     queue u32 · count u32 · first offset f64 · published at f64 · flags u8
 *     [producer: id string · epoch f64 · sequence f64 · sequence count u32 · irregular u8 · (offset f64 × sequence count)]
 *     [source f64]                                   the delayed record that became due
 *     count × message
 *
 *     message: packed as lanes/message-format.ts says
 */
export interface RunHeader {
  queue: number;
  count: number;
  first: number;
  publishedAt: number;
  /** The run repeats messages that an older segment held, at their own offsets. */
  moved: boolean;
  producer: RunProducer | undefined;
  /** The position of the delayed record whose message this is. */
  source: number | undefined;
}

export interface RunProducer extends ProducerMark {
  /** How many messages the producer's batch had, the delayed and the duplicate ones included. */
  readonly count: number;
  /** Their offsets when these are not just the run's own; -1 for a delayed message. */
  readonly offsets: readonly number[] | undefined;
}

const runFlag = { moved: 1, producer: 2, source: 4 } as const;
const headerBytes = 4 + 4 + 8 + 8 + 1;

export function runHeaderBytes(header: RunHeader): number {
  let bytes = headerBytes;
  if (header.producer !== undefined) {
    bytes += 2 + utf8Length(header.producer.id) + 8 + 8 + 4 + 1 + 8 * (header.producer.offsets?.length ?? 0);
  }
  if (header.source !== undefined) bytes += 8;
  return bytes;
}

export function writeRunHeader(writer: Writer, header: RunHeader): void {
  const flags =
    (header.moved ? runFlag.moved : 0) |
    (header.producer === undefined ? 0 : runFlag.producer) |
    (header.source === undefined ? 0 : runFlag.source);
  writer.u32(header.queue).u32(header.count).f64(header.first).f64(header.publishedAt).u8(flags);
  const producer = header.producer;
  if (producer !== undefined) {
    writer.string(producer.id).f64(producer.epoch).f64(producer.sequence).u32(producer.count);
    writer.u8(producer.offsets === undefined ? 0 : 1);
    for (const offset of producer.offsets ?? []) writer.f64(offset);
  }
  if (header.source !== undefined) writer.f64(header.source);
}

export function readRunHeader(reader: Reader): RunHeader {
  const queue = reader.u32();
  const count = reader.u32();
  const first = reader.f64();
  const publishedAt = reader.f64();
  const flags = reader.u8();
  const producer = flags & runFlag.producer ? readProducer(reader) : undefined;
  const source = flags & runFlag.source ? reader.f64() : undefined;
  return { queue, count, first, publishedAt, moved: (flags & runFlag.moved) !== 0, producer, source };
}

function readProducer(reader: Reader): RunProducer {
  const id = reader.string();
  const epoch = reader.f64();
  const sequence = reader.f64();
  const count = reader.u32();
  if (reader.u8() === 0) return { id, epoch, sequence, count, offsets: undefined };
  const offsets: number[] = [];
  for (let i = 0; i < count; i++) offsets.push(reader.f64());
  return { id, epoch, sequence, count, offsets };
}

function decodeHeaders(bytes: Buffer): MessageHeaders {
  try {
    return JSON.parse(bytes.toString("utf8")) as MessageHeaders;
  } catch (cause) {
    throw new RangeError("a message's headers are not what was written", { cause });
  }
}

/** Goes past one message without making anything of it. */
export function skipMessage(reader: Reader): void {
  const flags = reader.u8();
  let bytes = 0;
  if (flags & messageFlag.key) bytes += reader.u16();
  if (flags & messageFlag.id) bytes += reader.u8();
  if (flags & messageFlag.headers) bytes += reader.u32();
  bytes += reader.u32();
  reader.at += bytes;
  if (reader.at > reader.buffer.length) throw new RangeError("a message reaches beyond its record");
}

export function readMessage(reader: Reader, offset: number, publishedAt: number): Stored {
  const start = reader.at;
  const flags = reader.u8();
  const keyLength = flags & messageFlag.key ? reader.u16() : 0;
  const idLength = flags & messageFlag.id ? reader.u8() : 0;
  const headersLength = flags & messageFlag.headers ? reader.u32() : 0;
  const bodyLength = reader.u32();
  const key = flags & messageFlag.key ? readText(reader, keyLength) : undefined;
  const id = flags & messageFlag.id ? readText(reader, idLength) : undefined;
  const headers = flags & messageFlag.headers ? decodeHeaders(reader.bytes(headersLength)) : undefined;
  const body = reader.bytes(bodyLength);
  return { position: BigInt(offset), key, body, headers, id, publishedAt, sizeBytes: reader.at - start };
}

/** The id alone, for the deduplication window. */
export function readMessageId(reader: Reader): string | undefined {
  const start = reader.at;
  const flags = reader.u8();
  if (!(flags & messageFlag.id)) {
    reader.at = start;
    skipMessage(reader);
    return undefined;
  }
  const keyLength = flags & messageFlag.key ? reader.u16() : 0;
  const idLength = reader.u8();
  const headersLength = flags & messageFlag.headers ? reader.u32() : 0;
  const bodyLength = reader.u32();
  reader.bytes(keyLength);
  const id = readText(reader, idLength);
  reader.bytes(headersLength + bodyLength);
  return id;
}

function readText(reader: Reader, length: number): string {
  const end = reader.at + length;
  if (end > reader.buffer.length) throw new RangeError("a text reaches beyond its record");
  const text = reader.buffer.toString("utf8", reader.at, end);
  reader.at = end;
  return text;
}
