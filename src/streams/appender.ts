import { TenonError } from "../contracts/errors.ts";
import type { LogEngine, NewRecord } from "../contracts/log.ts";
import type { World } from "../world/world.ts";
import { engineBackoffMs, isPassing } from "./options.ts";

/** Where a record stands. */
export interface Place {
  readonly partition: number;
  readonly position: bigint;
}

export interface AppenderSettings {
  readonly log: string;
  readonly batchCountMax: number;
  readonly batchBytesMax: number;
  readonly timeoutMs: number;
}

interface Waiting {
  readonly record: NewRecord;
  readonly sizeBytes: number;
  readonly resolve: (place: Place) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Appends to one partition: what comes while a batch is under way is the next batch, so that order holds and calls share the engine's work. A batch whose outcome is
 * unknown is repeated unchanged under its number, where the engine knows it again; else its callers are told.
 */
export class Appender {
  readonly #engine: LogEngine;
  readonly #world: World;
  readonly #settings: AppenderSettings;
  readonly #partition: number;
  /** A producer of its own for each partition: the epoch of one must not end another's batches. */
  readonly #producer: string;
  #epoch = 0;
  #sequence = 0;
  #waiting: Waiting[] = [];
  #sending = false;

  constructor(engine: LogEngine, world: World, settings: AppenderSettings, partition: number) {
    this.#engine = engine;
    this.#world = world;
    this.#settings = settings;
    this.#partition = partition;
    this.#producer = world.random.uuid();
  }

  append(record: NewRecord, sizeBytes: number): Promise<Place> {
    const { promise, resolve, reject } = Promise.withResolvers<Place>();
    this.#waiting.push({ record, sizeBytes, resolve, reject });
    if (!this.#sending) {
      this.#sending = true;
      // What is appended in the same turn shares the batch.
      queueMicrotask(() => void this.#send());
    }
    return promise;
  }

  async #send(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#cut();
      try {
        const positions = await this.#appendBatch(batch.map(({ record }) => record));
        for (const [index, { resolve }] of batch.entries())
          resolve({ partition: this.#partition, position: positions[index]! });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#sending = false;
  }

  #cut(): Waiting[] {
    const { batchCountMax, batchBytesMax } = this.#settings;
    let bytes = 0;
    let count = 0;
    while (count < this.#waiting.length && count < batchCountMax) {
      bytes += this.#waiting[count]!.sizeBytes;
      if (count > 0 && bytes > batchBytesMax) break;
      count += 1;
    }
    return this.#waiting.splice(0, count);
  }

  async #appendBatch(records: readonly NewRecord[]): Promise<readonly bigint[]> {
    const { log, timeoutMs } = this.#settings;
    const known = this.#engine.capabilities.deduplicate;
    const mark = { id: this.#producer, epoch: this.#epoch, sequence: this.#sequence };
    const batch = { log, partition: this.#partition, records, producer: known ? mark : undefined };
    const deadline = this.#world.clock.monotonic() + timeoutMs;
    let isInDoubt = false;
    for (let attempt = 0; ; attempt++) {
      try {
        const positions = await this.#engine.append(batch);
        this.#sequence += records.length;
        return positions;
      } catch (error) {
        const delayMs = engineBackoffMs(attempt, this.#world.random.float());
        const isUnknown = error instanceof TenonError && error.outcome === "unknown";
        const again = isPassing(error) && (known || !isUnknown);
        if (isUnknown) isInDoubt = true;
        if (again && this.#world.clock.monotonic() + delayMs < deadline) {
          await this.#world.timers.sleep(delayMs);
          continue;
        }
        // Whatever became of it, nothing of it may come between what follows.
        this.#epoch += 1;
        this.#sequence = 0;
        throw isInDoubt ? undecided(log, this.#partition, error) : error;
      }
    }
  }
}

function undecided(log: string, partition: number, cause: unknown): TenonError {
  const message = `It is not known whether a record was appended to log "${log}"/${partition}. Look before appending it again.`;
  return new TenonError("unavailable", message, { outcome: "unknown", fields: { log, partition }, cause });
}
