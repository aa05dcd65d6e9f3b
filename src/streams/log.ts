import { checkCodec } from "../codec/codec.ts";
import { type Codec, type StandardSchemaV1, schemaCodec } from "../codec/index.ts";
import { partitionOf } from "../codec/key-hash.ts";
import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import type { LeaseEngine } from "../contracts/leases.ts";
import type { LogDescription, LogEngine, LogRecord, NewRecord } from "../contracts/log.ts";
import type { MessageHeaders } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { Appender, type Place } from "./appender.ts";
import { checkName, countOption, durationOption, engineBackoffMs, isPassing } from "./options.ts";
import { type LogStart, readPartition, startsOf, tailPartitions } from "./reading.ts";

/** What a log needs below it: every engine that carries logs has both. */
export interface StreamsEngine {
  readonly log: LogEngine;
  readonly world: World;
  /** Where an engine has them, processes share the partitions of a pipe by leases. */
  readonly leases?: LeaseEngine | undefined;
  /** What `create` is for logs that do not say; `"ifMissing"` when left out. */
  readonly topicCreation?: "ifMissing" | "never" | undefined;
}

export interface LogSettings {
  /** Fixed when the log is declared first; 8 when left out. */
  readonly partitions?: number | undefined;
  /** How long a record is kept at least, in milliseconds; for ever when left out. */
  readonly retentionMs?: number | undefined;
  /** How many bytes of its newest records each partition keeps at least; all when left out. A record may go when either retention lets it. */
  readonly retentionBytes?: number | undefined;
  /** Whether using the log makes it. With `"never"` it has to be there. The engine's `topicCreation` when left out, and `"ifMissing"` when that says nothing. */
  readonly create?: "ifMissing" | "never" | undefined;
  /** How long `append` tries; 10,000 when left out. */
  readonly appendTimeoutMs?: number | undefined;
}

/** Exactly one of a codec and a schema; the latter with JSON underneath. */
export type LogOptions<T> = LogSettings &
  (
    | { readonly codec: Codec<T>; readonly schema?: undefined }
    | { readonly schema: StandardSchemaV1<unknown, T>; readonly codec?: undefined }
  );

export interface EntryOptions {
  /** Records of one key stand in one partition, in order. */
  readonly key?: string | undefined;
  /** Instead of the one that follows from the key, or the next one in turn. */
  readonly partition?: number | undefined;
  readonly headers?: MessageHeaders | undefined;
}

/** A value on its way into a log. */
export interface Entry {
  readonly log: Log<unknown>;
  readonly record: NewRecord;
  readonly partition: number | undefined;
}

/** A value as a log keeps it. */
export interface LogEntry<T> {
  readonly value: T;
  readonly partition: number;
  readonly position: bigint;
  readonly key: string | undefined;
  readonly headers: MessageHeaders | undefined;
  /** When it was appended, ms since the epoch by the engine's clock. Never less than that of the entry before it in its partition. */
  readonly appendedAt: number;
}

export interface ReadOptions {
  /** 0 when left out. */
  readonly partition?: number | undefined;
  /** `"earliest"` when left out; a position, or the first record at or after an instant. */
  readonly from?: LogStart | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface TailOptions {
  /** All when left out. */
  readonly partitions?: readonly number[] | undefined;
  /** `"now"` when left out; by partition, those left out start now. */
  readonly from?: LogStart | ReadonlyMap<number, bigint> | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Log<T> {
  readonly name: string;
  readonly partitions: number;
  readonly engine: StreamsEngine;
  /** Makes the log, or with `create: "never"` sees that it is there; the first use does it too. `conflict` for another partition count. */
  declare(): Promise<void>;
  /** Resolves when the value is as durable as `engine.log.capabilities.survives` says. Values of one partition are stored in the order of the calls. */
  append(value: T, options?: EntryOptions): Promise<Place>;
  /** A value for this log, as a pipe's handler gives it. */
  entry(value: T, options?: EntryOptions): Entry;
  /** What a partition keeps, from a position or an instant up to what was its end when it was asked. */
  read(options?: ReadOptions): AsyncIterableIterator<LogEntry<T>>;
  /** What is appended from now on, or from elsewhere, without end: until the signal aborts, which ends it quietly. Partitions are merged as their records come. */
  tail(options?: TailOptions): AsyncIterableIterator<LogEntry<T>>;
  /** The position of the first entry at or after an instant, by partition; the end where there is none. */
  locate(at: number): Promise<ReadonlyMap<number, bigint>>;
  /** What is kept, by partition. */
  describe(): Promise<LogDescription>;
  /** Deletes the log with everything that it keeps. */
  remove(): Promise<void>;
  /** The value of a record of this log. */
  decode(record: LogRecord, partition: number): LogEntry<T>;
}

const partitionsDefault = 8;
const appendTimeoutMsDefault = 10_000;
const batchBytesMax = 1024 * 1024;
const batchCountMax = 4_096;
export const recordOverheadBytes = 32;

/** A log of values. Nothing happens before it is used. */
export function log<T>(engine: StreamsEngine, name: string, options: LogOptions<T>): Log<T> {
  checkEngine("log()", engine, "log");
  return new EngineLog(engine, name, options);
}

class EngineLog<T> implements Log<T> {
  readonly name: string;
  readonly partitions: number;
  readonly engine: StreamsEngine;
  readonly #codec: Codec<T>;
  readonly #settings: LogSettings;
  readonly #create: "ifMissing" | "never";
  readonly #appenders: Appender[];
  #declared: Promise<void> | undefined;
  #turn: number;

  constructor(engine: StreamsEngine, name: string, options: LogOptions<T>) {
    checkName("log", name);
    const { codec, schema, partitions = partitionsDefault, appendTimeoutMs = appendTimeoutMsDefault } = options;
    if ((codec === undefined) === (schema === undefined)) {
      throw new TenonError("invalid", `Log "${name}" needs a codec or a schema, and not both.`);
    }
    this.name = name;
    this.engine = engine;
    this.#codec = codec === undefined ? schemaCodec(schema!) : checkCodec(`Log "${name}"`, codec);
    this.partitions = countOption("partitions", partitions, 1);
    this.#settings = options;
    this.#create = options.create ?? engine.topicCreation ?? "ifMissing";
    const settings = {
      log: name,
      batchCountMax,
      batchBytesMax: Math.min(batchBytesMax, engine.log.capabilities.batchBytesMax),
      timeoutMs: durationOption("appendTimeoutMs", appendTimeoutMs),
    };
    this.#appenders = Array.from(
      { length: partitions },
      (_, partition) => new Appender(engine.log, engine.world, settings, partition),
    );
    // Not all of those who start together begin with the same partition.
    this.#turn = Math.floor(engine.world.random.float() * partitions);
  }

  declare(): Promise<void> {
    this.#declared ??= this.#declare().catch((error: unknown) => {
      this.#declared = undefined;
      throw error;
    });
    return this.#declared;
  }

  /** Outages are waited out for as long as an append would be: asking again does no harm. */
  async #declare(): Promise<void> {
    const { clock, timers, random } = this.engine.world;
    const deadline = clock.monotonic() + (this.#settings.appendTimeoutMs ?? appendTimeoutMsDefault);
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#declareOnce();
      } catch (error) {
        const delayMs = engineBackoffMs(attempt, random.float());
        if (!isPassing(error) || clock.monotonic() + delayMs >= deadline) throw error;
        await timers.sleep(delayMs);
      }
    }
  }

  async #declareOnce(): Promise<void> {
    const { name, partitions, engine } = this;
    const { retentionMs, retentionBytes } = this.#settings;
    if (this.#create === "ifMissing") return engine.log.declare(name, { partitions, retentionMs, retentionBytes });
    const { partitions: found } = await engine.log.describe(name);
    if (found.length === partitions) return;
    const message = `Log "${name}" has ${found.length} partitions, not ${partitions}; give partitions: ${found.length}.`;
    throw new TenonError("conflict", message, { fields: { log: name, partitions: found.length } });
  }

  async append(value: T, options: EntryOptions = {}): Promise<Place> {
    const { record, partition } = this.entry(value, options);
    await this.declare();
    return this.#appenders[partition ?? this.#nextPartition()]!.append(record, recordBytes(record));
  }

  entry(value: T, { key, partition, headers }: EntryOptions = {}): Entry {
    if (partition !== undefined && !(Number.isInteger(partition) && partition >= 0 && partition < this.partitions)) {
      throw new TenonError(
        "invalid",
        `Log "${this.name}" has partitions 0 to ${this.partitions - 1}, not ${partition}.`,
      );
    }
    const chosen = partition ?? (key === undefined ? undefined : partitionOf(key, this.partitions));
    return { log: this, record: { body: this.#codec.encode(value), key, headers }, partition: chosen };
  }

  #nextPartition(): number {
    this.#turn = (this.#turn + 1) % this.partitions;
    return this.#turn;
  }

  async *read({ partition = 0, from = "earliest", signal }: ReadOptions = {}): AsyncGenerator<LogEntry<T>> {
    await this.declare();
    const { log } = this.engine;
    const { partitions } = await log.describe(this.name);
    const starts = await startsOf(log, this.name, [partition], from);
    const end = partitions[partition]?.next ?? 0n;
    const records = readPartition(log, { log: this.name, partition, from: starts.get(partition)!, end, signal });
    for await (const record of records) yield this.decode(record, partition);
  }

  async *tail({ partitions, from = "now", signal }: TailOptions = {}): AsyncGenerator<LogEntry<T>> {
    await this.declare();
    const wanted = partitions ?? this.#appenders.map((_, partition) => partition);
    const starts = await startsOf(this.engine.log, this.name, wanted, from);
    for await (const { partition, record } of tailPartitions(this.engine, this.name, starts, signal))
      yield this.decode(record, partition);
  }

  async locate(at: number): Promise<ReadonlyMap<number, bigint>> {
    await this.declare();
    const all = this.#appenders.map((_, partition) => partition);
    return startsOf(this.engine.log, this.name, all, { at });
  }

  async describe(): Promise<LogDescription> {
    await this.declare();
    return this.engine.log.describe(this.name);
  }

  async remove(): Promise<void> {
    await this.engine.log.remove(this.name);
    this.#declared = undefined;
  }

  decode({ position, body, key, headers, appendedAt }: LogRecord, partition: number): LogEntry<T> {
    try {
      return { value: this.#codec.decode(body), partition, position, key, headers, appendedAt };
    } catch (cause) {
      const message = `The record at position ${position} of log "${this.name}"/${partition} cannot be decoded; read on from ${position + 1n}, or mend the codec.`;
      const fields = { log: this.name, partition, position };
      throw new TenonError("invalid", message, { fields, cause });
    }
  }
}

export function recordBytes({ body, key = "", headers = {} }: NewRecord): number {
  let bytes = recordOverheadBytes + body.length + Buffer.byteLength(key);
  for (const [name, value] of Object.entries(headers)) bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  return bytes;
}
