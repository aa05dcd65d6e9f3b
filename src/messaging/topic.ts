import { checkCodec } from "../codec/codec.ts";
import { type Codec, type StandardSchemaV1, schemaCodec } from "../codec/index.ts";
import { checkEngine } from "../contracts/engine-arguments.ts";
import { isCode, TenonError } from "../contracts/errors.ts";
import type { MessageEngine, SeekTarget, TopicDescription } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { partitionsDefault } from "./administration.ts";
import { type BatchHandler, BatchRuns, batchLimits, type ConsumeBatchOptions } from "./batch-runs.ts";
import { type BroadcastOptions, broadcastRetry, givenUpHandler } from "./broadcast.ts";
import {
  type ConsumeOptions,
  type Consumer,
  type GroupConsumer,
  startConsumer,
  startEphemeralConsumer,
} from "./consumer.ts";
import { checkCountLimit, checkCreation, ensureTopic, type TopicCreation } from "./creation.ts";
import { type DeadLetters, GroupDeadLetters } from "./dead-letters.ts";
import { type Handler, HandlerRuns } from "./handler-runs.ts";
import {
  checkInterceptors,
  type Interceptor,
  interceptedBatchHandler,
  interceptedHandler,
  publishChain,
} from "./interceptors.ts";
import { type Detection, type LossDetection, lossDetection } from "./loss-detector.ts";
import { checkName, retryTopicOf } from "./names.ts";
import { type LostMessage, OneWay, type OneWayCounts } from "./one-way.ts";
import { countOption, durationOption } from "./options.ts";
import type { GivenUpHandler, WhenExpired } from "./outcomes.ts";
import type { Receipt } from "./partition-queue.ts";
import { Producer } from "./producer.ts";
import { type MessageOptions, messageBytes, type PublishOptions } from "./publication.ts";
import { topicClosed } from "./publish-errors.ts";
import { type PublishEntry, Publisher } from "./publisher.ts";
import type { RunHost, Runs } from "./runs.ts";
import { checkSeekTarget } from "./seek-target.ts";

/** What a topic needs below it: every engine that carries messages has both. */
export interface MessagingEngine {
  readonly messages: MessageEngine;
  readonly world: World;
  /** What `create` is for topics that do not say; `"ifMissing"` when left out. */
  readonly topicCreation?: TopicCreation | undefined;
}

export interface TopicSettings {
  /** Fixed when the topic is declared first; 8 when left out. */
  readonly partitions?: number | undefined;
  /** Groups that receive every message from the topic's declaration on, even before their first consumer. */
  readonly groups?: readonly string[] | undefined;
  /** How long a message is kept after every group has settled it; the engine's default when left out. */
  readonly retentionMs?: number | undefined;
  /**
   * Whether using the topic makes it. With `"never"` it must have been created by `topicAdministration`, whose settings count, and using it
   * before is refused (`not-found`). The engine's `topicCreation` when left out, and `"ifMissing"` when that says nothing.
   */
  readonly create?: TopicCreation | undefined;
  /** How many unsettled messages the topic keeps, delayed ones included; no limit when left out. */
  readonly countMax?: number | undefined;
  /**
   * What happens to a batch that would exceed `countMax`: it is refused (`overloaded`; when left out), or the oldest messages of the fullest
   * partition are settled for every group, unhandled.
   */
  readonly whenFull?: "refuse" | "evict" | undefined;
  /** What becomes of a message that expires before it is delivered to a consumer made here: a dead letter (when left out), or nothing. */
  readonly whenExpired?: WhenExpired | undefined;
  /**
   * A name that stays across restarts, with an epoch that grows: a process with a lower epoch can publish no more.
   * Left out, every topic object is a producer of its own.
   */
  readonly producer?: { readonly id: string; readonly epoch: number } | undefined;
  /** 10,000 when left out. */
  readonly publishTimeoutMs?: number | undefined;
  /** What may wait for the engine before `publish` waits for room; 32 MiB when left out. */
  readonly bufferBytesMax?: number | undefined;
  /** What `publishOneWay` may have waiting for the engine; `bufferBytesMax` when left out. */
  readonly oneWayBytesMax?: number | undefined;
  /** 1 MiB when left out, the engine's `batchBytesMax` at most; a larger message is a batch of its own. */
  readonly batchBytesMax?: number | undefined;
  /** 4,096 when left out. */
  readonly batchCountMax?: number | undefined;
  /** Numbers what is published here, and looks for numbers that are missing in what is consumed here. Off when left out. */
  readonly lossDetection?: boolean | LossDetection | undefined;
}

/** Exactly one of a codec and a schema; the latter with JSON underneath. */
export type TopicOptions<T> = TopicSettings & {
  /** Stand around publishing and around handlers; the first is the outermost. */
  readonly interceptors?: readonly Interceptor<T>[] | undefined;
  /** Told of each message of `publishOneWay` that was refused, or is not known to be stored. */
  readonly onLost?: ((lost: LostMessage<T>) => void) | undefined;
} & (
    | { readonly codec: Codec<T>; readonly schema?: undefined }
    | { readonly schema: StandardSchemaV1<unknown, T>; readonly codec?: undefined }
  );

/** What is not settled by a group. */
export interface Lag {
  /** Every message that the group has not settled, those that wait for a retry included. */
  readonly messages: number;
  /** Those that wait for a retry. */
  readonly held: number;
  /** `undefined` when there are none. */
  readonly oldestAgeMs: number | undefined;
  readonly deadLetters: number;
}

export interface Topic<T> extends AsyncDisposable {
  readonly name: string;
  /**
   * Makes the topic and its groups, or with `create: "never"` sees that they are there; the first `publish` or `consume` does it too.
   * `conflict` for another partition count.
   */
  declare(): Promise<void>;
  /** Resolves when the message is as durable as `engine.messages.capabilities.survives` says. */
  publish(value: T, options?: PublishOptions): Promise<Receipt>;
  /**
   * One receipt per entry, in their order. Entries of one partition are stored in order. When some of them fail, it
   * rejects with the first failure once the fate of all is known; `fields.stored` says how many are stored.
   */
  publishMany(
    entries: readonly PublishEntry<T>[],
    options?: Pick<PublishOptions, "signal" | "timeoutMs">,
  ): Promise<readonly Receipt[]>;
  /**
   * Publishes and returns at once; nobody learns of the message but `oneWay`, `onLost` and the log. `false` when it was refused: too much waits for
   * the engine (`oneWayBytesMax`), or the topic is closed. Throws for what is wrong with the message itself, as `publish` rejects.
   */
  publishOneWay(value: T, options?: MessageOptions): boolean;
  /** What became of everything that was published one way. */
  readonly oneWay: OneWayCounts;
  /** Becomes a member of the group; the handler gets every message of the group at least once. */
  consume(group: string, handler: Handler<T>, options?: ConsumeOptions): Promise<Consumer>;
  /** The same with a handler that gets up to `batchCountMax` messages at a time, and answers for each of them. */
  consumeBatch(group: string, handler: BatchHandler<T>, options?: ConsumeBatchOptions): Promise<Consumer>;
  /**
   * The handler gets every message that is published from now on, whatever others get: this member is a group of its own, which ends with it, or with
   * its session (then `closed` rejects with `not-found`, and what came meanwhile is missed). Nothing of it stays behind: a message that its
   * handler fails for good is logged, given to `onGivenUp`, and forgotten.
   */
  broadcast(handler: Handler<T>, options?: BroadcastOptions<T>): Promise<Consumer>;
  describe(): Promise<TopicDescription>;
  /** `not-found` when the group was never declared. */
  lag(group: string): Promise<Lag>;
  deadLetters(group: string): DeadLetters<T>;
  /**
   * Moves the group, forth or back, while it is consumed or not; `positions` moves the named partitions alone. Running handlers lose their
   * partitions. Retries under way are forgotten, but for those that wait in the group's retry topic.
   */
  seek(group: string, to: SeekTarget): Promise<void>;
  /** Closes the consumers that were made here, sends what was accepted, and refuses everything after. Idempotent. */
  close(): Promise<void>;
}

/** A topic of an engine. Nothing is asked of the engine before the first use. */
export function topic<T>(engine: MessagingEngine, name: string, options: TopicOptions<T>): Topic<T> {
  checkEngine("topic()", engine, "messages");
  return new EngineTopic(engine, name, options);
}

class EngineTopic<T> implements Topic<T> {
  readonly name: string;
  readonly #engine: MessageEngine;
  readonly #world: World;
  readonly #codec: Codec<T>;
  readonly #partitions: number;
  readonly #settings: TopicSettings;
  readonly #creation: TopicCreation;
  readonly #whenExpired: WhenExpired;
  readonly #producer: Producer;
  readonly #publisher: Publisher<T>;
  readonly #oneWay: OneWay<T>;
  readonly #interceptors: readonly Interceptor<T>[];
  readonly #lossDetection: Detection | undefined;
  readonly #consumers = new Set<GroupConsumer>();
  #declared: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(engine: MessagingEngine, name: string, options: TopicOptions<T>) {
    checkName("topic", name);
    for (const group of options.groups ?? []) checkName("group", group);
    this.name = name;
    this.#engine = engine.messages;
    this.#world = engine.world;
    this.#settings = options;
    this.#creation = checkCreation(options.create ?? engine.topicCreation ?? "ifMissing");
    this.#whenExpired = checkWhenExpired(options.whenExpired ?? "deadLetter");
    this.#codec = codecOf(name, options);
    this.#partitions = countOption("partitions", options.partitions, partitionsDefault);
    const { partitionsMax } = this.#engine.capabilities;
    if (this.#partitions > partitionsMax) {
      throw new TenonError("invalid", `partitions is ${this.#partitions}; the engine allows at most ${partitionsMax}.`);
    }
    checkProducer(options.producer);
    checkCountLimit(name, options, this.#engine.capabilities);
    this.#interceptors = options.interceptors ?? [];
    checkInterceptors(name, this.#interceptors);
    this.#lossDetection = lossDetection(options.lossDetection);
    const bufferBytesMax = countOption("bufferBytesMax", options.bufferBytesMax, 32 * 1024 * 1024);
    this.#producer = new Producer({
      engine: this.#engine,
      world: this.#world,
      topic: name,
      partitions: this.#partitions,
      declare: () => this.#declare(),
      identity: options.producer,
      publishTimeoutMs: durationOption("publishTimeoutMs", options.publishTimeoutMs, 10_000),
      bufferBytesMax,
      batchBytesMax: countOption(
        "batchBytesMax",
        options.batchBytesMax,
        Math.min(1024 * 1024, this.#engine.capabilities.batchBytesMax),
        1,
        this.#engine.capabilities.batchBytesMax,
      ),
      // A batch is taken whole or refused whole: a larger one would never fit.
      batchCountMax: Math.min(
        countOption("batchCountMax", options.batchCountMax, 4_096),
        countOption("countMax", options.countMax, Number.MAX_SAFE_INTEGER),
      ),
      numbered: this.#lossDetection !== undefined,
    });
    this.#publisher = new Publisher({
      topic: name,
      partitions: this.#partitions,
      limits: this.#engine.capabilities,
      world: this.#world,
      codec: this.#codec,
      producer: this.#producer,
      chain: publishChain(this.#interceptors),
    });
    const oneWayBytesMax = countOption("oneWayBytesMax", options.oneWayBytesMax, bufferBytesMax);
    this.#oneWay = new OneWay(this.#world, name, oneWayBytesMax, options.onLost);
  }

  async declare(): Promise<void> {
    this.#refuseWhenClosed();
    // Somebody may have removed it since it was declared last.
    this.#declared = undefined;
    await this.#declare();
  }

  // Not async functions: that would add a promise, and two turns of the microtask queue, to every message.
  publish(value: T, options?: PublishOptions): Promise<Receipt> {
    return this.#publisher.publish(value, options);
  }

  publishMany(
    entries: readonly PublishEntry<T>[],
    options?: Pick<PublishOptions, "signal" | "timeoutMs">,
  ): Promise<readonly Receipt[]> {
    return this.#publisher.publishMany(entries, options);
  }

  publishOneWay(value: T, options?: MessageOptions): boolean {
    return this.#publisher.publishOneWay(this.#oneWay, value, options);
  }

  get oneWay(): OneWayCounts {
    return this.#oneWay.counts;
  }

  async consume(group: string, handler: Handler<T>, options: ConsumeOptions = {}): Promise<Consumer> {
    checkHandler(handler);
    const whole = interceptedHandler(this.#interceptors, handler);
    return await this.#consume(group, options, 1, (host) => new HandlerRuns(host, this.#codec, whole));
  }

  async consumeBatch(group: string, handler: BatchHandler<T>, options: ConsumeBatchOptions = {}): Promise<Consumer> {
    checkHandler(handler);
    const limits = batchLimits(options);
    const whole = interceptedBatchHandler(this.#interceptors, handler);
    return await this.#consume(
      group,
      options,
      limits.batchCountMax,
      (host) => new BatchRuns(host, this.#codec, whole, limits),
    );
  }

  async broadcast(handler: Handler<T>, options: BroadcastOptions<T> = {}): Promise<Consumer> {
    checkHandler(handler);
    const { onGivenUp, ...consuming } = options;
    const givenUp = givenUpHandler(onGivenUp, this.#codec, this.#world);
    const whole = interceptedHandler(this.#interceptors, handler);
    return await this.#consume(
      `broadcast-${this.#world.random.uuid()}`,
      { ...consuming, retry: broadcastRetry(options.retry) },
      1,
      (host) => new HandlerRuns(host, this.#codec, whole),
      givenUp,
    );
  }

  async #consume(
    group: string,
    options: ConsumeOptions,
    batchCountMax: number,
    runs: (host: RunHost) => Runs,
    givenUp?: GivenUpHandler,
  ): Promise<Consumer> {
    checkName("group", group);
    if (options.from !== undefined) checkSeekTarget(this.name, this.#partitions, options.from);
    this.#refuseWhenClosed();
    options.signal?.throwIfAborted();
    await this.#declare();
    const start = givenUp === undefined ? startConsumer : startEphemeralConsumer;
    const consumer = await start({
      engine: this.#engine,
      world: this.#world,
      topic: this.name,
      partitions: this.#partitions,
      group,
      contentType: this.#codec.contentType,
      batchCountMax,
      runs,
      lossDetection: this.#lossDetection,
      whenExpired: this.#whenExpired,
      givenUp,
      options,
    });
    if (this.#closing !== undefined) {
      await consumer.close();
      this.#refuseWhenClosed();
    }
    this.#consumers.add(consumer);
    const forget = (): boolean => this.#consumers.delete(consumer);
    consumer.closed.then(forget, forget);
    return consumer;
  }

  async describe(): Promise<TopicDescription> {
    this.#refuseWhenClosed();
    await this.#declare();
    return await this.#engine.describe(this.name);
  }

  async lag(group: string): Promise<Lag> {
    const description = await this.describe();
    const own = description.groups.find((one) => one.group === group);
    if (own === undefined) {
      throw new TenonError(
        "not-found",
        `Topic "${this.name}" has no group "${group}"; consume with it, or name it in groups.`,
        {
          fields: { topic: this.name, group },
        },
      );
    }
    const retry = await this.#describeRetries(group);
    const lanes = [...own.lanes, ...(retry?.groups.find((one) => one.group === group)?.lanes ?? [])];
    const delayed = retry?.delayedCount ?? 0;
    let messages = delayed;
    let held = delayed;
    let oldest = Number.POSITIVE_INFINITY;
    for (const lane of lanes) {
      messages += lane.lag;
      held += lane.held;
      oldest = Math.min(oldest, lane.oldestPublishedAt ?? oldest);
    }
    return {
      messages,
      held,
      oldestAgeMs: Number.isFinite(oldest) ? Math.max(0, this.#world.clock.now() - oldest) : undefined,
      deadLetters: await this.deadLetters(group).count(),
    };
  }

  deadLetters(group: string): DeadLetters<T> {
    checkName("group", group);
    this.#refuseWhenClosed();
    return new GroupDeadLetters({
      engine: this.#engine,
      world: this.#world,
      topic: this.name,
      group,
      codec: this.#codec,
      publish: (partition, message) => this.#producer.send(partition, message, messageBytes(message)),
    });
  }

  async seek(group: string, to: SeekTarget): Promise<void> {
    checkName("group", group);
    checkSeekTarget(this.name, this.#partitions, to);
    this.#refuseWhenClosed();
    await this.#declare();
    await this.#engine.seek(this.name, group, to);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    // Handlers that still run may publish: consumers first.
    if (this.#consumers.size > 0) await Promise.all([...this.#consumers].map((consumer) => consumer.close()));
    this.#oneWay.close();
    await this.#producer.close();
  }

  #declare(): Promise<void> {
    this.#declared ??= this.#declareOnce();
    return this.#declared;
  }

  async #declareOnce(): Promise<void> {
    const { groups, retentionMs, countMax, whenFull } = this.#settings;
    const declaration = { partitions: this.#partitions, groups, retentionMs, countMax, whenFull };
    try {
      await ensureTopic(this.#engine, this.name, this.#creation, declaration);
    } catch (error) {
      this.#declared = undefined;
      throw error;
    }
  }

  async #describeRetries(group: string): Promise<TopicDescription | undefined> {
    try {
      return await this.#engine.describe(retryTopicOf(this.name, group));
    } catch (error) {
      if (isCode(error, "not-found")) return undefined;
      throw error;
    }
  }

  #refuseWhenClosed(): void {
    if (this.#closing !== undefined) throw topicClosed(this.name);
  }
}

function codecOf<T>(name: string, options: TopicOptions<T>): Codec<T> {
  if ((options.codec === undefined) === (options.schema === undefined)) {
    throw new TenonError("invalid", `Topic "${name}" needs exactly one of codec and schema.`, {
      fields: { topic: name },
    });
  }
  if (options.codec !== undefined) return checkCodec(`Topic "${name}"`, options.codec);
  return schemaCodec(options.schema as StandardSchemaV1<unknown, T>);
}

function checkHandler(handler: unknown): void {
  if (typeof handler !== "function") throw new TenonError("invalid", "The handler must be a function.");
}

function checkWhenExpired(whenExpired: WhenExpired): WhenExpired {
  if (whenExpired === "deadLetter" || whenExpired === "drop") return whenExpired;
  throw new TenonError("invalid", `whenExpired is "deadLetter" or "drop", not ${JSON.stringify(whenExpired)}.`);
}

function checkProducer(producer: TopicSettings["producer"]): void {
  if (producer === undefined) return;
  const { id, epoch } = producer;
  if (typeof id !== "string" || id.length === 0 || Buffer.byteLength(id) > 255) {
    throw new TenonError("invalid", "producer.id must be a string of 1 to 255 bytes.");
  }
  countOption("producer.epoch", epoch, epoch, 0);
}
