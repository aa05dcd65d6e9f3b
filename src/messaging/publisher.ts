import type { Codec } from "../codec/index.ts";
import { partitionOf } from "../codec/key-hash.ts";
import { TenonError } from "../contracts/errors.ts";
import type { MessageCapabilities, NewMessage } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { expiresAtOf } from "./expiry.ts";
import { expiresAtHeader } from "./headers.ts";
import type { PublishChain } from "./interceptors.ts";
import type { OneWay } from "./one-way.ts";
import { durationOption } from "./options.ts";
import type { Receipt } from "./partition-queue.ts";
import { overheadBytes, type Producer, type Sending } from "./producer.ts";
import { dueAtOf, type MessageOptions, measure, type PublishOptions, storedHeaders } from "./publication.ts";

export interface PublishEntry<T> extends MessageOptions {
  readonly value: T;
}

export interface PublisherOptions<T> {
  readonly topic: string;
  readonly partitions: number;
  readonly limits: MessageCapabilities;
  readonly world: World;
  readonly codec: Codec<T>;
  readonly producer: Producer;
  /** `undefined` when no interceptor stands around publishing. */
  readonly chain: PublishChain<T> | undefined;
}

/** Makes messages of values, checks them, chooses their partitions, and sends them through the interceptors to the producer. */
export class Publisher<T> {
  readonly #topic: string;
  readonly #partitions: number;
  readonly #limits: MessageCapabilities;
  readonly #world: World;
  readonly #codec: Codec<T>;
  readonly #producer: Producer;
  readonly #chain: PublishChain<T> | undefined;

  constructor(options: PublisherOptions<T>) {
    this.#topic = options.topic;
    this.#partitions = options.partitions;
    this.#limits = options.limits;
    this.#world = options.world;
    this.#codec = options.codec;
    this.#producer = options.producer;
    this.#chain = options.chain;
  }

  // Not an async function: that would add a promise, and two turns of the microtask queue, to every message.
  publish(value: T, options?: PublishOptions): Promise<Receipt> {
    try {
      const body = this.#encode(value);
      const sizeBytes = measure(this.#topic, this.#limits, body, options);
      const message = this.#message(body, options);
      const partition = this.#partitionOf(options);
      const sending = options && this.#sending(options);
      if (this.#chain !== undefined) return this.#sendThrough(value, options ?? {}, message, partition, sending);
      return this.#producer.send(partition, message, sizeBytes, sending);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Throws for what is wrong with the message itself; whatever becomes of it later is the one-way's. */
  publishOneWay(oneWay: OneWay<T>, value: T, options: MessageOptions | undefined): boolean {
    const body = this.#encode(value);
    const sizeBytes = measure(this.#topic, this.#limits, body, options);
    const message = this.#message(body, options);
    const partition = this.#partitionOf(options);
    return oneWay.publish(value, sizeBytes + overheadBytes, () => {
      if (this.#chain !== undefined) return this.#sendThrough(value, options ?? {}, message, partition, undefined);
      return this.#producer.send(partition, message, sizeBytes);
    });
  }

  async publishMany(
    entries: readonly PublishEntry<T>[],
    options: Pick<PublishOptions, "signal" | "timeoutMs"> = {},
  ): Promise<readonly Receipt[]> {
    const sending = this.#sending(options);
    // All are checked before the first is sent: an entry that is not valid leaves nothing half done.
    const prepared = entries.map((entry) => {
      const body = this.#encode(entry.value);
      const sizeBytes = measure(this.#topic, this.#limits, body, entry);
      return { message: this.#message(body, entry), sizeBytes, partition: this.#partitionOf(entry) };
    });
    const sent = prepared.map(({ message, sizeBytes, partition }, index) => {
      if (this.#chain === undefined) return this.#producer.send(partition, message, sizeBytes, sending);
      const entry = entries[index]!;
      return this.#sendThrough(entry.value, entry, message, partition, sending);
    });
    const results = await Promise.allSettled(sent);
    const receipts: Receipt[] = [];
    let failure: { readonly reason: unknown } | undefined;
    let unknown = false;
    for (const result of results) {
      if (result.status === "fulfilled") receipts.push(result.value);
      else {
        failure ??= result;
        unknown ||= result.reason instanceof TenonError && result.reason.outcome === "unknown";
      }
    }
    if (failure !== undefined) throw this.#partlyStored(failure.reason, receipts.length, entries.length, unknown);
    return receipts;
  }

  /** Through the interceptors, who see the partition and may change the headers. */
  #sendThrough(
    value: T,
    options: MessageOptions,
    message: NewMessage,
    given: number | undefined,
    sending: Sending | undefined,
  ): Promise<Receipt> {
    const partition = given ?? this.#producer.keylessPartition();
    const { key, id, dueAt } = message;
    const headers = { ...options.headers };
    const expiry = message.headers?.[expiresAtHeader];
    const expiresAt = expiry === undefined ? undefined : Number(expiry);
    const outgoing = { topic: this.#topic, partition, value, key, id, tag: options.tag, dueAt, expiresAt, headers };
    return this.#chain!(outgoing, () => {
      const changed = { ...options, headers };
      const sizeBytes = measure(this.#topic, this.#limits, message.body, changed);
      const stored = storedHeaders(changed, expiry);
      return this.#producer.send(partition, { ...message, headers: stored }, sizeBytes, sending);
    });
  }

  #encode(value: T): Uint8Array {
    try {
      return this.#codec.encode(value);
    } catch (error) {
      const ours = error instanceof TenonError;
      throw new TenonError(
        ours ? error.code : "invalid",
        `A value for topic "${this.#topic}" cannot be encoded as ${this.#codec.contentType}${ours ? `. ${error.message}` : "; see the cause."}`,
        { fields: { ...(ours && error.fields), topic: this.#topic }, cause: error },
      );
    }
  }

  /** Always the same members in the same order, so that engines meet one shape of object. */
  #message(body: Uint8Array, options: MessageOptions | undefined): NewMessage {
    if (options === undefined) return { body, key: undefined, headers: undefined, id: undefined, dueAt: undefined };
    const { key, id } = options;
    const delayed = options.delayMs !== undefined || options.dueAt !== undefined;
    const expires = options.expiresAt !== undefined || options.ttlMs !== undefined;
    // Read once, so that what is relative is relative to one instant.
    const now = delayed || expires ? this.#world.clock.now() : 0;
    const dueAt = delayed ? dueAtOf(this.#topic, this.#limits, options, now) : undefined;
    const expiresAt = expires ? expiresAtOf(this.#topic, options, dueAt, now) : undefined;
    const headers = storedHeaders(options, expiresAt === undefined ? undefined : String(expiresAt));
    return { body, key, headers, id, dueAt };
  }

  #partitionOf(options: MessageOptions | undefined): number | undefined {
    if (options === undefined) return undefined;
    const { partition, key } = options;
    if (partition === undefined) {
      // A message that is published again under its id must meet the first one, so the id stands in for a key.
      const routed = key ?? options.id;
      return routed === undefined ? undefined : partitionOf(routed, this.#partitions);
    }
    if (Number.isSafeInteger(partition) && partition >= 0 && partition < this.#partitions) return partition;
    throw new TenonError(
      "invalid",
      `Partition ${partition} of topic "${this.#topic}" does not exist; there are ${this.#partitions}, from 0.`,
      { fields: { topic: this.#topic, partition, partitions: this.#partitions } },
    );
  }

  #sending<Options extends Pick<PublishOptions, "signal" | "timeoutMs">>(options: Options): Options {
    if (options.timeoutMs !== undefined) durationOption("timeoutMs", options.timeoutMs, options.timeoutMs);
    return options;
  }

  #partlyStored(reason: unknown, stored: number, count: number, unknown: boolean): unknown {
    if (!(reason instanceof TenonError) || count === 1) return reason;
    return new TenonError(
      reason.code,
      `${stored} of ${count} messages were stored. The first failure: ${reason.message}`,
      {
        outcome: unknown || stored > 0 ? "unknown" : reason.outcome,
        fields: { ...reason.fields, stored, count },
        cause: reason,
      },
    );
  }
}
