/** How Kafka answers a fetch (version 13). */
import type { KafkaReader } from "../clients.ts";

/** A partition that was fetched. */
export interface FetchedAs<Content> {
  readonly topicId: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: bigint;
  /** Below it every transaction is decided. */
  readonly lastStableOffset: bigint;
  /** Transactions that were given up in what was fetched. */
  readonly abortedTransactions: readonly AbortedTransaction[];
  /** The log that was read so far, and the leader's, part somewhere. */
  readonly hasDiverged: boolean;
  readonly content: Content;
}

export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

/** Makes something of the bytes of a partition's batches. */
export type ReadContent<Content> = (buffer: KafkaReader["buffer"], start: number, end: number) => Content;

const divergingEpochTag = 0;

/** Of each partition that was asked for, whatever its error. Throws `FetchRefused` when all was refused. */
export function readFetchAnswer<Content>(reader: KafkaReader, read: ReadContent<Content>): FetchedAs<Content>[] {
  // How long the broker held the request back.
  reader.readInt32();
  refuse(reader.readInt16());
  // The fetch session: there is none.
  reader.readInt32();
  const topics = reader.readNullableArray(() => {
    const topicId = reader.readUUID();
    return reader.readNullableArray(() => readPartition(reader, topicId, read), true, false) ?? [];
  });
  return (topics ?? []).flat();
}

function readPartition<Content>(reader: KafkaReader, topicId: string, read: ReadContent<Content>): FetchedAs<Content> {
  const partition = reader.readInt32();
  const errorCode = reader.readInt16();
  const highWatermark = reader.readInt64();
  const lastStableOffset = reader.readInt64();
  // Where the log begins.
  reader.readInt64();
  const abortedTransactions =
    reader.readNullableArray(() => ({ producerId: reader.readInt64(), firstOffset: reader.readInt64() })) ?? [];
  // The replica to read from.
  reader.readInt32();
  const bytes = Math.max(0, reader.readUnsignedVarInt() - 1);
  const content = read(reader.buffer, reader.position, reader.position + bytes);
  reader.skip(bytes);
  const hasDiverged = readTags(reader);
  return {
    topicId,
    partition,
    errorCode,
    highWatermark,
    lastStableOffset,
    abortedTransactions,
    hasDiverged,
    content,
  };
}

/** Whether the partition's tags tell of a diverging epoch. */
function readTags(reader: KafkaReader): boolean {
  let hasDiverged = false;
  for (let left = reader.readUnsignedVarInt(); left > 0; left--) {
    const tag = reader.readUnsignedVarInt();
    const bytes = reader.readUnsignedVarInt();
    const end = reader.position + bytes;
    if (tag === divergingEpochTag) hasDiverged = reader.readInt32() >= 0;
    reader.skip(end - reader.position);
  }
  return hasDiverged;
}

/** A batch begins with its first offset and how many bytes follow. */
const beginningBytes = 12;
const lengthAt = 8;

/**
 * The batches within what was answered, each by itself. Where the broker cut one off in the midst is nothing to read: it comes whole with the next fetch. But the first one always comes whole, so that one of
 * which a part is missing stays that way.
 */
export function batchesBetween(buffer: KafkaReader["buffer"], start: number, end: number): readonly Buffer[] {
  const batches: Buffer[] = [];
  for (let from = start; from + beginningBytes <= end; ) {
    const beginning = buffer.slice(from, from + beginningBytes);
    const length = beginning.readInt32BE(lengthAt);
    // What no batch can have is found out by who opens it, as is what is missing of the first one.
    const whole = from + beginningBytes + Math.max(0, length);
    if (whole > end && batches.length > 0) break;
    const to = Math.min(whole, end);
    batches.push(owned(buffer.slice(from, to)));
    from = to;
  }
  return batches;
}

/** Whoever keeps a message keeps the batch that it was appended with, and not what came along by chance. */
function owned(batch: Buffer): Buffer {
  return batch.length * 2 >= batch.buffer.byteLength ? batch : Buffer.from(batch);
}

export function refuse(code: number): void {
  if (code !== 0) throw new FetchRefused(code);
}

/** As the client's own errors: with Kafka's number of it. */
class FetchRefused extends Error {
  readonly apiCode: number;
  constructor(code: number) {
    super(`Kafka refused a fetch (error ${code})`);
    this.apiCode = code;
  }
}
