import { TenonError } from "../../contracts/errors.ts";
import { checkInstant } from "../../contracts/instants.ts";
import type { Batch, MessageCapabilities, NewMessage } from "../../contracts/messages.ts";
import { topicSealed } from "../../contracts/topic-declarations.ts";
import { utf8Length } from "../shared/utf8.ts";
import { topicNotFound } from "./errors.ts";
import { packedBytes, packHeaders, packMessage } from "./message-format.ts";

/** A run is at most this large, unless it is one message: what a lane reads, it reads in whole runs. */
const chunkBytes = 64 * 1024;
const chunkCountMax = 4_096;

/** A batch with ids or delays is looked at message by message, and its answer has every position. */
const specialCountMax = 100_000;

/** A batch whose figures have been checked. */
export interface CheckedBatch {
  readonly batch: Batch;
  /** Packed headers by message, when any message has some. */
  readonly headers: readonly (Buffer | undefined)[] | undefined;
  /** What the messages take, packed. */
  readonly bytes: number;
  /** Whether any message has an id or a due instant. */
  readonly special: boolean;
  /** Only for the topic of this number, and not for another one that has its name now. */
  readonly topicNumber?: number | undefined;
  /** Its messages are counted already, where the topic counts. */
  readonly isCounted?: boolean | undefined;
}

/** Throws `invalid` when the batch breaks a limit. Which topics and partitions there are, the store knows. */
export function checkBatch(
  batch: Batch,
  capabilities: Pick<MessageCapabilities, "keyBytesMax" | "messageBytesMax" | "batchBytesMax">,
): CheckedBatch {
  const { topic, partition, messages } = batch;
  if (messages.length === 0) {
    throw new TenonError("invalid", `an empty batch for topic ${topic}; append at least one message`);
  }
  if (!(Number.isInteger(partition) && partition >= 0)) throw noSuchPartition(batch);
  let headers: (Buffer | undefined)[] | undefined;
  let bytes = 0;
  let special = false;
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]!;
    if (!(message.body instanceof Uint8Array)) {
      throw new TenonError("invalid", `the body of a message for topic ${topic} is no Uint8Array; encode it first`);
    }
    let headersBytes = -1;
    if (message.headers !== undefined) {
      headers ??= new Array(messages.length);
      headers[i] = packHeaders(message.headers);
      headersBytes = headers[i]!.length;
    }
    if (message.id !== undefined || message.dueAt !== undefined) special = true;
    const size = packedBytes(message, headersBytes);
    // Only a message of that size can break a limit.
    if (size > capabilities.keyBytesMax) checkSizes(topic, message, capabilities);
    checkTexts(topic, message);
    bytes += size;
  }
  checkTotals(batch, bytes, special, capabilities.batchBytesMax);
  checkProducer(batch);
  return { batch, headers, bytes, special };
}

function checkTexts(topic: string, { key, id, dueAt }: NewMessage): void {
  if (key !== undefined && !key.isWellFormed()) throw notWellFormed("key", topic);
  if (id !== undefined) {
    if (!id.isWellFormed()) throw notWellFormed("id", topic);
    const idBytes = utf8Length(id);
    if (idBytes < 1 || idBytes > 255) {
      throw new TenonError("invalid", `a message id of ${idBytes} bytes for topic ${topic} is not within 1 to 255`);
    }
  }
  if (dueAt !== undefined) checkInstant("dueAt", topic, dueAt);
}

/** UTF-8 has no lone surrogates: the text would come back as another one. */
function notWellFormed(what: string, topic: string): TenonError {
  return new TenonError("invalid", `the ${what} of a message for topic ${topic} is not well-formed Unicode`);
}

function checkSizes(
  topic: string,
  message: NewMessage,
  { keyBytesMax, messageBytesMax }: Pick<MessageCapabilities, "keyBytesMax" | "messageBytesMax">,
): void {
  const keyBytes = message.key === undefined ? 0 : utf8Length(message.key);
  if (keyBytes > keyBytesMax) {
    const text = `a key of ${keyBytes} bytes for topic ${topic} exceeds the limit of ${keyBytesMax}`;
    throw new TenonError("invalid", text, { fields: { topic, keyBytes, limit: keyBytesMax } });
  }
  let messageBytes = message.body.length + keyBytes;
  for (const [name, value] of Object.entries(message.headers ?? {})) {
    if (!name.startsWith("tenon-")) messageBytes += utf8Length(name) + utf8Length(value);
  }
  if (messageBytes <= messageBytesMax) return;
  const text = `a message of ${messageBytes} bytes for topic ${topic} exceeds the limit of ${messageBytesMax}; store the body elsewhere and send a reference`;
  throw new TenonError("invalid", text, { fields: { topic, messageBytes, limit: messageBytesMax } });
}

function checkTotals({ topic, messages }: Batch, bytes: number, special: boolean, batchBytesMax: number): void {
  // What is packed is mostly less than what counts, and more only where headers take much.
  if (bytes + 32 * messages.length > batchBytesMax) {
    const counted = messages.reduce((sum, message) => sum + countedBytes(message), 0);
    if (counted > batchBytesMax) {
      throw new TenonError(
        "invalid",
        `a batch of ${counted} bytes for topic ${topic} exceeds ${batchBytesMax}; split it`,
      );
    }
  }
  if (special && messages.length > specialCountMax) {
    const text = `a batch of ${messages.length} messages of which some are delayed or have ids, for topic ${topic}, exceeds ${specialCountMax}; split it`;
    throw new TenonError("invalid", text);
  }
}

function countedBytes(message: NewMessage): number {
  return 32 + contentBytes(message);
}

/** Body, key and headers of a message. */
export function contentBytes({ body, key, headers }: Pick<NewMessage, "body" | "key" | "headers">): number {
  let bytes = body.length + (key === undefined ? 0 : utf8Length(key));
  if (headers === undefined) return bytes;
  for (const [name, value] of Object.entries(headers)) bytes += utf8Length(name) + utf8Length(value);
  return bytes;
}

function checkProducer({ topic, producer }: Batch): void {
  if (producer === undefined) return;
  const { id, epoch, sequence } = producer;
  const idBytes = utf8Length(id);
  if (id.isWellFormed() && idBytes >= 1 && idBytes <= 255 && isCount(epoch) && isCount(sequence)) return;
  const text = `the producer mark of a batch for topic ${topic} is not valid: an id of 1 to 255 bytes, epoch and sequence whole and ≥ 0`;
  throw new TenonError("invalid", text);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

export function isDelayed({ dueAt }: NewMessage): boolean {
  return dueAt !== undefined;
}

export function isMisdirected({ topicNumber }: CheckedBatch, number: number): boolean {
  return topicNumber !== undefined && topicNumber !== number;
}

/** The batch without what is delayed. */
export function withoutDelayed(checked: CheckedBatch): CheckedBatch {
  const { batch, headers, special } = checked;
  if (!special || !batch.messages.some(isDelayed)) return checked;
  const messages = batch.messages.filter((message) => !isDelayed(message));
  return {
    ...checked,
    batch: { ...batch, messages },
    headers: headers?.filter((_, index) => !isDelayed(batch.messages[index]!)),
  };
}

/** The messages in runs: how many there are in each, and their bytes. `allocate` answers room for so many bytes, whatever is in it. */
export function packChunks(
  { batch, headers }: CheckedBatch,
  allocate: (bytes: number) => Buffer = Buffer.allocUnsafe,
): readonly PackedChunk[] {
  const { messages } = batch;
  const chunks: PackedChunk[] = [];
  for (let from = 0; from < messages.length; ) {
    let bytes = 0;
    let to = from;
    for (; to < messages.length && to - from < chunkCountMax; to++) {
      const size = packedBytes(messages[to]!, headers?.[to]?.length ?? -1);
      if (to > from && bytes + size > chunkBytes) break;
      bytes += size;
    }
    const packed = allocate(bytes);
    let at = 0;
    for (let i = from; i < to; i++) at = packMessage(packed, at, messages[i]!, headers?.[i]);
    chunks.push({ count: to - from, packed });
    from = to;
  }
  return chunks;
}

export interface PackedChunk {
  readonly count: number;
  readonly packed: Buffer;
}

/** One message by itself. */
export function packOne({ batch, headers }: CheckedBatch, index: number): Buffer {
  const message = batch.messages[index]!;
  const own = headers?.[index];
  const packed = Buffer.allocUnsafe(packedBytes(message, own?.length ?? -1));
  packMessage(packed, 0, message, own);
  return packed;
}

/** Each batch is checked against what is stored, so two of one producer would not see each other. */
export function refuseRepeatedProducers(batches: readonly Batch[]): void {
  if (batches.length < 2) return;
  const marks = batches.flatMap(({ topic, partition, producer }) =>
    producer === undefined ? [] : [JSON.stringify([topic, partition, producer.id])],
  );
  if (new Set(marks).size === marks.length) return;
  throw new TenonError("invalid", "a lane's commit holds two batches of one producer and partition; merge them");
}

/** Why a store takes a batch not. */
export type BatchRefusal =
  | { readonly refused: "partition"; readonly partitions: number }
  | { readonly refused: "sealed"; readonly sealed: string }
  | { readonly refused: "full"; readonly countMax: number; readonly count: number }
  | { readonly refused: "fenced"; readonly epoch: number }
  | { readonly refused: "repeated" }
  | { readonly refused: "gap"; readonly expected: number };

/** The batch is for another topic than the one that has its name now. */
export interface Misdirected {
  readonly refused: "topic";
}

export function refusedBatch(batch: Batch, refusal: BatchRefusal | Misdirected): TenonError {
  const { topic } = batch;
  if (refusal.refused === "topic") return topicNotFound(topic);
  if (refusal.refused === "partition") return noSuchPartition(batch, refusal.partitions);
  if (refusal.refused === "sealed") return topicSealed(topic, refusal.sealed);
  if (refusal.refused === "full") {
    const { countMax, count } = refusal;
    const text = `topic ${topic} takes no ${batch.messages.length} more: ${count} of at most ${countMax} messages are not settled, or delayed; settle some first, or raise countMax`;
    return new TenonError("overloaded", text, { fields: { topic, countMax, count } });
  }
  const { id, epoch, sequence } = batch.producer!;
  const fields = { topic, producer: id, epoch, sequence };
  if (refusal.refused === "fenced") {
    const text = `producer ${id} with epoch ${epoch} was fenced by epoch ${refusal.epoch}; stop this producer`;
    return new TenonError("lost", text, { fields });
  }
  if (refusal.refused === "repeated") {
    const text = `producer ${id} repeats sequence ${sequence} as part of another batch, or long after; repeat batches unchanged`;
    return new TenonError("conflict", text, { fields });
  }
  const { expected } = refusal;
  const text = `producer ${id} sent sequence ${sequence} where ${expected} comes next; an earlier batch is missing`;
  return new TenonError("conflict", text, { fields: { ...fields, expected } });
}

function noSuchPartition({ topic, partition }: Batch, partitions?: number): TenonError {
  const there = partitions === undefined ? "" : `; topic ${topic} has 0 to ${partitions - 1}`;
  return new TenonError("invalid", `partition ${partition} of topic ${topic} does not exist${there}`);
}
