import type { TenonError } from "../../../contracts/errors.ts";
import type {
  LogBatch,
  LogCapabilities,
  LogCommit,
  LogDeclaration,
  LogDescription,
  LogEngine,
  LogOutput,
  LogPage,
  LogRead,
  LogWriter,
  NewRecord,
  ReaderPosition,
} from "../../../contracts/log.ts";
import { checkPositionWithin, writerFenced } from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import { type Appended, AppendQueues } from "../../lanes/append-queues.ts";
import { type CheckedBatch, checkBatch, packChunks } from "../../lanes/batches.ts";
import { toPosition } from "../../lanes/positions.ts";
import { atOnce } from "../at-once.ts";
import { asRead } from "../failures.ts";
import type { JetStream } from "../jet-stream.ts";
import type { NatsLink } from "../link.ts";
import { ProducerEpochs } from "../producer-epochs.ts";
import type { ServerClock } from "../server-clock.ts";
import { StateStore } from "../state-store.ts";
import type { Streams } from "../streams.ts";
import { LogReading } from "./log-reading.ts";
import { LogRuns } from "./log-runs.ts";
import { LogTrimmer } from "./log-trimmer.ts";
import { LogWriters } from "./log-writers.ts";
import { type Log, Logs, partitionsOf } from "./logs.ts";
import { ReaderPositions } from "./reader-positions.ts";

export interface LogSettings {
  readonly world: World;
  readonly link: NatsLink;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly clock: ServerClock;
  readonly survives: LogCapabilities["survives"];
  /** The server's `max_payload`. */
  readonly payloadBytesMax: number;
}

type Positions = readonly (readonly (bigint | undefined)[])[];

/** What is remembered of a partition, and what stands between records, has room in one message of the server beside a batch. */
const batchShare = 7 / 8;
const recordShare = 3 / 4;
const largestBatch = 8 * 1024 * 1024;
const largestRecord = 4 * 1024 * 1024;
/** What a batch takes in a run beside its records. */
const batchBytes = 32;

/** The `log` contract on JetStream, for what `CheckedLog` has looked at: a partition is a chain of runs, each stored if it is built upon the last one. There are no transactions: each condition is on one subject. */
export class NatsLog implements LogEngine {
  readonly capabilities: LogCapabilities;
  readonly #logs: Logs;
  readonly #reading: LogReading;
  readonly #trimmer: LogTrimmer;
  readonly #positions: ReaderPositions;
  readonly #writers: LogWriters;
  readonly #appends: AppendQueues;

  constructor(settings: LogSettings) {
    const { world, jetStream, streams, clock, survives, payloadBytesMax } = settings;
    this.capabilities = {
      survives,
      transactions: false,
      sequences: true,
      deduplicate: true,
      instants: "coarse",
      retentionLatenessMs: 1_000,
      partitionsMax: 1_024,
      recordBytesMax: Math.min(largestRecord, Math.floor(payloadBytesMax * recordShare)),
      keyBytesMax: Math.min(65_535, Math.floor(payloadBytesMax * recordShare)),
      batchBytesMax: Math.min(largestBatch, Math.floor(payloadBytesMax * batchShare)),
      commitBytesMax: Math.min(largestBatch, Math.floor(payloadBytesMax * batchShare)),
    };
    const state = new StateStore(jetStream, streams);
    const epochs = new ProducerEpochs(jetStream, streams, world);
    const logs = new Logs({ ...settings, state, epochs });
    const runs = new LogRuns(jetStream, streams);
    this.#logs = logs;
    this.#trimmer = new LogTrimmer({ world, jetStream, streams, clock, logs, runs });
    this.#reading = new LogReading({ ...settings, runs, trimmer: this.#trimmer });
    this.#positions = new ReaderPositions(state, world);
    this.#writers = new LogWriters({ world, state, logs, positions: this.#positions });
    this.#appends = new AppendQueues((batches) => this.#send(batches), this.capabilities.batchBytesMax, batchBytes);
  }

  async declare(log: string, declaration: LogDeclaration): Promise<void> {
    await this.#logs.declare(log, declaration);
  }

  async logs(): Promise<readonly string[]> {
    return this.#logs.places.names();
  }

  async remove(log: string): Promise<void> {
    await this.#logs.places.remove(log);
  }

  async describe(name: string): Promise<LogDescription> {
    return this.#logs.places.during(name, async (log) => {
      const found = await this.#logs.places.recordOf(log);
      if (found === undefined) return undefined;
      const { retentionMs, retentionBytes } = found.record;
      await atOnce(partitionsOf(log), (partition) => this.#trimmer.trim(log, partition, found.record)).catch(asRead);
      const partitions = await this.#reading.describe(log);
      if (partitions === undefined) return undefined;
      return {
        log: name,
        retentionMs: retentionMs ?? undefined,
        retentionBytes: retentionBytes ?? undefined,
        partitions,
      };
    });
  }

  async append(batch: LogBatch): Promise<readonly bigint[]> {
    const { log, partition, records, producer } = batch;
    // Without delays every record has a position.
    return (await this.#appends.append(this.#checked(log, partition, records, producer))) as readonly bigint[];
  }

  #checked(
    log: string,
    partition: number,
    messages: readonly NewRecord[],
    producer?: LogBatch["producer"],
  ): CheckedBatch {
    const { keyBytesMax, recordBytesMax: messageBytesMax, batchBytesMax } = this.capabilities;
    const limits = { keyBytesMax, messageBytesMax, batchBytesMax };
    return checkBatch({ topic: log, partition, messages, producer }, limits);
  }

  #send(batches: readonly CheckedBatch[]): Promise<readonly Appended[]> {
    const { topic, partition } = batches[0]!.batch;
    return this.#at(topic, partition, async (log) => {
      const answers = await log.partition(partition).append(batches);
      if (answers !== undefined) this.#tidyLater(log, partition);
      return answers;
    });
  }

  /** Asks about a partition; `undefined`: the log is gone. */
  #at<T>(name: string, partition: number, ask: (log: Log) => Promise<T | undefined>): Promise<T> {
    return this.#logs.places.during(name, async (log) => {
      return (await this.#logs.check(log, partition)) === undefined ? undefined : ask(log);
    });
  }

  #tidyLater(log: Log, partition: number): void {
    this.#trimmer.tidy(log, partition).catch(() => undefined);
  }

  read(request: LogRead, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<LogPage> {
    return this.#at(request.log, request.partition, (log) => this.#reading.read(log, request, signal));
  }

  async locate(log: string, partition: number, at: number): Promise<bigint> {
    return this.#at(log, partition, (found) => this.#reading.locate(found, partition, at));
  }

  async positions(reader: string, log: string): Promise<ReadonlyMap<number, bigint>> {
    const { place } = await this.#logs.places.findNow(log);
    return this.#positions.all(place.id, reader);
  }

  async forget(reader: string, log: string): Promise<void> {
    const { place } = await this.#logs.places.findNow(log);
    await this.#positions.forget(place.id, reader);
  }

  async openWriter(name: string, logs: readonly string[]): Promise<LogWriter> {
    return this.#writers.open(name, logs);
  }

  async commit(writer: LogWriter, { outputs = [], positions = [] }: LogCommit): Promise<Positions> {
    const [output] = outputs;
    const [position] = positions;
    if (output !== undefined) return [await this.#store(writer, output)];
    if (position !== undefined) await this.#stand(writer, position);
    else {
      for (const name of writer.logs) {
        const asked = await this.#logs.places.during(name, (log) => this.#writers.ask(log, writer));
        throwIfFenced(writer, asked);
      }
    }
    return [];
  }

  async #store(writer: LogWriter, output: LogOutput): Promise<readonly (bigint | undefined)[]> {
    const { log: name, partition, records } = output;
    const sequences = output.sequences?.map(Number);
    const packed = (from: number) =>
      packChunks(this.#checked(name, partition, records.slice(from))).map((chunk) => chunk.packed);
    const stored = await this.#at(name, partition, async (log) => {
      const admitted = await this.#writers.place(log, writer, { partition, reader: undefined });
      if (admitted !== true) return admitted;
      const owner = { writer: writer.name, epoch: Number(writer.epoch) };
      const answer = await log.partition(partition).store({ ...owner, records, sequences, packed });
      if (answer !== undefined) this.#tidyLater(log, partition);
      return answer;
    });
    if (stored === "fenced") throw writerFenced(writer.name, writer.epoch);
    return records.map((_, index) =>
      index < stored.known ? undefined : toPosition(stored.first + index - stored.known),
    );
  }

  async #stand(writer: LogWriter, standing: ReaderPosition): Promise<void> {
    const { reader, log: name, partition, position } = standing;
    const stood = await this.#at(name, partition, async (log) => {
      const reached = await log.partition(partition).reaches(position);
      if (reached === undefined) return undefined;
      if (reached !== true) checkPositionWithin(standing, toPosition(reached.end));
      const admitted = await this.#writers.place(log, writer, { partition, reader });
      if (admitted !== true) return admitted;
      const owner = { name: writer.name, epoch: Number(writer.epoch) };
      return this.#positions.set({ log: log.id, reader, partition }, owner, Number(position));
    });
    throwIfFenced(writer, stood);
  }

  /** Whoever waits hears of it. The connection stays open. */
  close(reason: TenonError): void {
    this.#reading.close(reason);
  }
}

function throwIfFenced({ name, epoch }: LogWriter, answer: true | "fenced"): void {
  if (answer === "fenced") throw writerFenced(name, epoch);
}
