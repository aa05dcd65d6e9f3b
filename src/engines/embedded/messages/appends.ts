import { TenonError } from "../../../contracts/errors.ts";
import { checkInstant } from "../../../contracts/instants.ts";
import type { Batch, MessageCapabilities, NewMessage } from "../../../contracts/messages.ts";
import { topicSealed } from "../../../contracts/topic-declarations.ts";
import { packedBytes, packHeaders } from "../../lanes/message-format.ts";
import { utf8Length } from "../../shared/utf8.ts";
import { offsetIn } from "./id-window.ts";
import type { MessageStore } from "./message-store.ts";
import type { Queue } from "./queues.ts";
import { Room } from "./room.ts";

/** A batch is one journal batch at most. */
export const batchBytesMax = 15 * 1024 * 1024;

/** A producer's batch with ids or delays is remembered with every position, in one record with four others. */
const specialCountMax = 100_000;

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

type Limits = Pick<MessageCapabilities, "keyBytesMax" | "messageBytesMax">;

export function checkBatch(batch: Batch, queue: Queue, capabilities: Limits): CheckedBatch {
  const messages = batch.messages;
  if (messages.length === 0)
    throw new TenonError("invalid", `an empty batch for topic ${batch.topic}; append at least one message`);
  let headers: (Buffer | undefined)[] | undefined;
  let bytes = 0;
  let special = false;
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]!;
    if (!(message.body instanceof Uint8Array)) {
      throw new TenonError(
        "invalid",
        `the body of a message for topic ${batch.topic} is no Uint8Array; encode it first`,
      );
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
    if (size > capabilities.keyBytesMax) checkMessage(batch.topic, message, capabilities);
    if (message.id !== undefined) checkId(batch.topic, message.id);
    if (message.key !== undefined && !message.key.isWellFormed()) throw notWellFormed("key", batch.topic);
    if (message.dueAt !== undefined) checkInstant("dueAt", batch.topic, message.dueAt);
    bytes += size;
  }
  if (bytes > batchBytesMax) {
    throw new TenonError(
      "invalid",
      `a batch of ${bytes} bytes for topic ${batch.topic} exceeds ${batchBytesMax}; split it`,
    );
  }
  if (special && messages.length > specialCountMax) {
    throw new TenonError(
      "invalid",
      `a batch of ${messages.length} messages of which some are delayed or have ids, for topic ${batch.topic}, exceeds ${specialCountMax}; split it`,
    );
  }
  checkProducer(batch);
  return { batch, queue, headers, bytes, special };
}

function checkMessage(topic: string, message: NewMessage, capabilities: Limits): void {
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
  let messageSize = message.body.length + keyBytes;
  for (const [name, value] of Object.entries(message.headers ?? {})) {
    if (!name.startsWith("tenon-")) messageSize += utf8Length(name) + utf8Length(value);
  }
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

/** UTF-8 has no lone surrogates: the text would come back as another one. */
function notWellFormed(what: string, topic: string): TenonError {
  return new TenonError("invalid", `the ${what} of a message for topic ${topic} is not well-formed Unicode`);
}

function checkId(topic: string, id: string): void {
  if (!id.isWellFormed()) throw notWellFormed("id", topic);
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

/** Appending: what is checked, what is known already, and what is written. */
export class Appends {
  readonly #store: MessageStore;
  readonly #capabilities: Limits;

  constructor(store: MessageStore, capabilities: Limits) {
    this.#store = store;
    this.#capabilities = capabilities;
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    const { core } = this.#store;
    try {
      core.throwIfClosed();
      const checked = this.check(batch);
      let positions = this.known(checked);
      if (positions === undefined) {
        core.throwIfFull(`publishing to topic ${batch.topic}`);
        this.makeRoom([checked]);
        positions = this.write(checked);
      }
      return core.journal.durable().then(() => positions);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  check(batch: Batch): CheckedBatch {
    const queue = this.#store.topic(batch.topic).queues[batch.partition];
    if (queue !== undefined) return checkBatch(batch, queue, this.#capabilities);
    const count = this.#store.topic(batch.topic).queues.length;
    throw new TenonError(
      "invalid",
      `topic ${batch.topic} has no partition ${batch.partition}; it has 0 to ${count - 1}`,
    );
  }

  /** The positions of a batch that its producer repeats. */
  known({ batch, queue }: CheckedBatch): (bigint | undefined)[] | undefined {
    if (batch.producer === undefined) return undefined;
    const known = this.#store.producers.check(batch.producer, queue.topic.id, queue.id, batch.messages.length);
    if (known === undefined) return undefined;
    return batch.messages.map((_, i) => {
      const offset = known.offsets === undefined ? known.first + i : known.offsets[i]!;
      return offset < 0 ? undefined : BigInt(offset);
    });
  }

  /** Writes a checked batch whose producer, if any, says it is new. Synchronous: all of its records are in one journal batch. */
  write(checked: CheckedBatch): (bigint | undefined)[] {
    const { batch, queue } = checked;
    const now = queue.instant(this.#store.core.world.clock.now());
    if (checked.special) return this.#appendSpecial(checked, now);
    const first = queue.next;
    const count = batch.messages.length;
    const producer = batch.producer && { ...batch.producer, count, offsets: undefined };
    this.#store.writeRun(queue, { first, count, now, producer, source: undefined, moved: false }, checked);
    const positions: bigint[] = new Array(count);
    for (let i = 0; i < count; i++) positions[i] = BigInt(first + i);
    return positions;
  }

  /**
   * Sees to it that the batches, and records of so many bytes besides, can be written as one change: topics that are sealed refuse it, and full ones
   * refuse it or make room.
   */
  makeRoom(batches: readonly CheckedBatch[], payloadBytes = 0, records = 0): void {
    let bytesMax = payloadBytes;
    let recordsMax = records;
    let room: Room | undefined;
    for (const checked of batches) {
      const count = checked.batch.messages.length;
      bytesMax += checked.bytes + runOverheadBytesMax + count * messageOverheadBytesMax;
      recordsMax += count + 1;
      const { topic } = checked.queue;
      if (topic.settings.sealed !== "") throw topicSealed(topic.name, topic.settings.sealed);
      if (topic.settings.countMax === Number.POSITIVE_INFINITY) continue;
      room ??= new Room(this.#store);
      room.want(topic, this.#newCount(checked));
    }
    room?.check();
    if (room !== undefined) {
      bytesMax += room.evictions.payloadBytes;
      recordsMax += room.evictions.records;
    }
    this.#store.core.journal.ensureRoom(bytesMax, recordsMax);
    room?.make();
  }

  /** How many of the batch's messages are not stored already. */
  #newCount({ batch, queue, special }: CheckedBatch): number {
    if (!special) return batch.messages.length;
    const now = this.#store.core.world.clock.now();
    const ids = new Set<string>();
    let count = 0;
    for (const { id } of batch.messages) {
      if (id !== undefined && (ids.has(id) || this.#knownOffset(queue, id, now) !== undefined)) continue;
      if (id !== undefined) ids.add(id);
      count += 1;
    }
    return count;
  }

  /** The offset of the message that has the id already; -1 when it is delayed, or stands in another partition. */
  #knownOffset(queue: Queue, id: string, now: number): number | undefined {
    const place = this.#store.ids.find(queue.topic.id, id, now);
    return place === undefined ? undefined : offsetIn(queue.partition, place);
  }

  /** Some messages have ids, of which some may be known, and some are delayed. */
  #appendSpecial(checked: CheckedBatch, now: number): (bigint | undefined)[] {
    const { batch, queue } = checked;
    const first = queue.next;
    const offsets: number[] = [];
    const indexes: number[] = [];
    const fresh = new Map<string, number>();
    for (let i = 0; i < batch.messages.length; i++) {
      const { id, dueAt } = batch.messages[i]!;
      const known = id === undefined ? undefined : (fresh.get(id) ?? this.#knownOffset(queue, id, now));
      const offset = known ?? (dueAt !== undefined && dueAt > now ? -1 : first + indexes.length);
      offsets.push(offset);
      if (known !== undefined) continue;
      if (id !== undefined) fresh.set(id, offset);
      if (offset >= 0) indexes.push(i);
      else this.#store.delayed.write(queue, batch.messages[i]!, checked.headers?.[i]);
    }
    for (const [id, offset] of fresh) this.#store.noteId(queue, id, offset, now);
    const count = indexes.length;
    const producer = batch.producer && { ...batch.producer, count: offsets.length, offsets };
    if (count > 0 || producer !== undefined) {
      const messages = indexes.map((i) => batch.messages[i]!);
      const headers = checked.headers && indexes.map((i) => checked.headers![i]);
      this.#store.writeRun(
        queue,
        { first, count, now, producer, source: undefined, moved: false },
        { batch: { messages }, headers, bytes: -1 },
      );
    }
    return offsets.map((offset) => (offset < 0 ? undefined : BigInt(offset)));
  }
}

/** A run's header with the longest producer id. */
const runOverheadBytesMax = 512;
/** A delayed message's header, or an offset in the producer's mark. */
const messageOverheadBytesMax = 32;
