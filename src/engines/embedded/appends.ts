import { TenonError } from "../../contracts/errors.ts";
import type { Batch, MessageCapabilities, NewMessage } from "../../contracts/messages.ts";
import { utf8Length } from "./cursor.ts";
import { encodeHeaders, messageBytes } from "./message-run.ts";
import type { Queue } from "./queues.ts";

/** A batch is one journal batch at most. */
export const batchBytesMax = 15 * 1024 * 1024;

/** A batch whose figures have been checked. */
export interface CheckedBatch {
  readonly batch: Batch;
  readonly queue: Queue;
  /** Encoded headers by message, when any message has some. */
  readonly headers: readonly (Buffer | undefined)[] | undefined;
  /** What the messages take in a run. */
  readonly bytes: number;
  /** Whether any message has an id or a due instant, which the short way does not know. */
  readonly special: boolean;
}

export function checkBatch(batch: Batch, queue: Queue, capabilities: MessageCapabilities): CheckedBatch {
  const messages = batch.messages;
  if (messages.length === 0)
    throw new TenonError("invalid", `an empty batch for topic ${batch.topic}; append at least one message`);
  let headers: (Buffer | undefined)[] | undefined;
  let bytes = 0;
  let special = false;
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]!;
    let headersBytes = -1;
    if (message.headers !== undefined) {
      headers ??= new Array(messages.length);
      headers[i] = encodeHeaders(message.headers);
      headersBytes = headers[i]!.length;
    }
    if (message.id !== undefined || message.dueAt !== undefined) special = true;
    const size = messageBytes(message, headersBytes);
    if (size > capabilities.messageBytesMax || (message.key !== undefined && message.key.length > 16_384)) {
      checkMessage(batch.topic, message, headersBytes, capabilities);
    }
    if (message.id !== undefined) checkId(batch.topic, message.id);
    if (message.dueAt !== undefined && !Number.isFinite(message.dueAt)) {
      throw new TenonError(
        "invalid",
        `dueAt of a message for topic ${batch.topic} is ${message.dueAt}, not an instant`,
      );
    }
    bytes += size;
  }
  if (bytes > batchBytesMax) {
    throw new TenonError(
      "invalid",
      `a batch of ${bytes} bytes for topic ${batch.topic} exceeds ${batchBytesMax}; split it`,
    );
  }
  checkProducer(batch);
  return { batch, queue, headers, bytes, special };
}

function checkMessage(
  topic: string,
  message: NewMessage,
  headersBytes: number,
  capabilities: MessageCapabilities,
): void {
  const keyBytes = message.key === undefined ? 0 : utf8Length(message.key);
  if (keyBytes > capabilities.keyBytesMax) {
    throw new TenonError(
      "invalid",
      `a key of ${keyBytes} bytes for topic ${topic} exceeds the limit of ${capabilities.keyBytesMax}`,
      {
        fields: { topic, keyBytes, limit: capabilities.keyBytesMax },
      },
    );
  }
  const messageSize = message.body.length + keyBytes + Math.max(0, headersBytes);
  if (messageSize > capabilities.messageBytesMax) {
    const limit = capabilities.messageBytesMax;
    throw new TenonError(
      "invalid",
      `a message of ${messageSize} bytes for topic ${topic} exceeds the limit of ${limit}; store the body elsewhere and send a reference`,
      {
        fields: { topic, messageBytes: messageSize, limit },
      },
    );
  }
}

function checkId(topic: string, id: string): void {
  const bytes = utf8Length(id);
  if (bytes >= 1 && bytes <= 255) return;
  throw new TenonError("invalid", `a message id of ${bytes} bytes for topic ${topic} is not within 1 to 255`);
}

function checkProducer({ topic, producer }: Batch): void {
  if (producer === undefined) return;
  const { id, epoch, sequence } = producer;
  const idBytes = utf8Length(id);
  if (
    idBytes < 1 ||
    idBytes > 255 ||
    !Number.isSafeInteger(epoch) ||
    epoch < 0 ||
    !Number.isSafeInteger(sequence) ||
    sequence < 0
  ) {
    throw new TenonError(
      "invalid",
      `the producer mark of a batch for topic ${topic} is not valid: an id of 1 to 255 bytes, epoch and sequence whole and ≥ 0`,
    );
  }
}
