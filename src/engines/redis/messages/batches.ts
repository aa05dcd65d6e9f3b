import { TenonError } from "../../../contracts/errors.ts";
import type { Batch, MessageCapabilities, NewMessage } from "../../../contracts/messages.ts";
import type { Argument } from "../connection.ts";
import { packedBytes, packHeaders, packMessage, utf8Length } from "./message-format.ts";
import { toPosition } from "./positions.ts";
import { numberOf, type Reply, refusalOf } from "./replies.ts";

/** A run is at most this large, unless it is one message: what a lane reads, it reads in whole runs. */
const chunkBytes = 64 * 1024;
const chunkCountMax = 4_096;

/** A batch with ids or delays takes three arguments for each message, and an answer with every position. */
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
}

/** Throws `invalid` when the batch breaks a limit. Which topics and partitions there are, Redis knows. */
export function checkBatch(batch: Batch, capabilities: MessageCapabilities): CheckedBatch {
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
  if (dueAt !== undefined && !Number.isFinite(dueAt)) {
    throw new TenonError("invalid", `dueAt of a message for topic ${topic} is ${dueAt}, not an instant`);
  }
}

/** UTF-8 has no lone surrogates: the text would come back as another one. */
function notWellFormed(what: string, topic: string): TenonError {
  return new TenonError("invalid", `the ${what} of a message for topic ${topic} is not well-formed Unicode`);
}

function checkSizes(topic: string, message: NewMessage, { keyBytesMax, messageBytesMax }: MessageCapabilities): void {
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

function countedBytes({ body, key, headers = {} }: NewMessage): number {
  let bytes = 32 + body.length + (key === undefined ? 0 : utf8Length(key));
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

/** Adds the batch to a script's arguments, as `append.part.lua` reads them; `topic`: which of the script's keys is its topic's. */
export function addBatch(args: Argument[], topic: number, { batch, headers, special }: CheckedBatch): void {
  const { partition, messages, producer } = batch;
  args.push(topic, partition, messages.length);
  if (producer === undefined) args.push("", 0, 0);
  else args.push(producer.id, producer.epoch, producer.sequence);
  if (special) addSpecial(args, messages, headers);
  else addChunks(args, messages, headers);
}

function addSpecial(args: Argument[], messages: readonly NewMessage[], headers: CheckedBatch["headers"]): void {
  args.push(0);
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]!;
    const own = headers?.[i];
    const packed = Buffer.allocUnsafe(packedBytes(message, own?.length ?? -1));
    packMessage(packed, 0, message, own);
    args.push(message.id ?? "", message.dueAt ?? "", packed);
  }
}

function addChunks(args: Argument[], messages: readonly NewMessage[], headers: CheckedBatch["headers"]): void {
  const chunksAt = args.push(0) - 1;
  let chunks = 0;
  for (let from = 0; from < messages.length; chunks++) {
    let bytes = 0;
    let to = from;
    for (; to < messages.length && to - from < chunkCountMax; to++) {
      const size = packedBytes(messages[to]!, headers?.[to]?.length ?? -1);
      if (to > from && bytes + size > chunkBytes) break;
      bytes += size;
    }
    const packed = Buffer.allocUnsafe(bytes);
    let at = 0;
    for (let i = from; i < to; i++) at = packMessage(packed, at, messages[i]!, headers?.[i]);
    args.push(to - from, packed);
    from = to;
  }
  args[chunksAt] = chunks;
}

/** The positions that a script answered for the batch. */
export function positionsOf(batch: Batch, answer: unknown): (bigint | undefined)[] {
  if (typeof answer !== "number")
    return (answer as Reply).map((item) => (numberOf(item) < 0 ? undefined : toPosition(numberOf(item))));
  const positions: bigint[] = new Array(batch.messages.length);
  for (let i = 0; i < positions.length; i++) positions[i] = toPosition(answer + i);
  return positions;
}

/** Why a batch was refused, as an error; `undefined` when it was not, or when its topic is gone. */
export function refusedBatch(batch: Batch, answer: unknown): TenonError | undefined {
  if (!Array.isArray(answer)) return undefined;
  const word = refusalOf(answer);
  const { topic, producer } = batch;
  const detail = answer[1] === undefined ? 0 : numberOf(answer[1]);
  if (word === "partition") return noSuchPartition(batch, detail);
  if (word === "full") {
    const count = numberOf(answer[2]);
    const text = `topic ${topic} takes no ${batch.messages.length} more: ${count} of at most ${detail} messages are not settled, or delayed; settle some first, or raise countMax`;
    return new TenonError("overloaded", text, { fields: { topic, countMax: detail, count } });
  }
  if (producer === undefined) return undefined;
  const { id, epoch, sequence } = producer;
  const fields = { topic, producer: id, epoch, sequence };
  switch (word) {
    case "fenced":
      return new TenonError(
        "lost",
        `producer ${id} with epoch ${epoch} was fenced by epoch ${detail}; stop this producer`,
        { fields },
      );
    case "repeated":
      return new TenonError(
        "conflict",
        `producer ${id} repeats sequence ${sequence} as part of another batch, or long after; repeat batches unchanged`,
        { fields },
      );
    case "gap":
      return new TenonError(
        "conflict",
        `producer ${id} sent sequence ${sequence} where ${detail} comes next; an earlier batch is missing`,
        {
          fields: { ...fields, expected: detail },
        },
      );
  }
  return undefined;
}

function noSuchPartition({ topic, partition }: Batch, partitions?: number): TenonError {
  const there = partitions === undefined ? "" : `; topic ${topic} has 0 to ${partitions - 1}`;
  return new TenonError("invalid", `partition ${partition} of topic ${topic} does not exist${there}`);
}
