import { TenonError } from "../../../contracts/errors.ts";
import type {
  LogBatch,
  LogCapabilities,
  LogCommit,
  LogDeclaration,
  LogDescription,
  LogEngine,
  LogPage,
  LogRead,
  LogWriter,
} from "../../../contracts/log.ts";
import { checkLogPartition } from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import { toPosition } from "../../lanes/positions.ts";
import type { Cluster } from "../cluster.ts";
import type { Journal } from "../journal/journal.ts";
import { partitionsMax } from "../messages/topics.ts";
import type { TopicMaker } from "../topic-maker.ts";
import { LogAppends } from "./log-appends.ts";
import { LogReading } from "./log-reading.ts";
import type { LogState } from "./log-requirements.ts";
import { LogWriters } from "./log-writers.ts";
import { Logs } from "./logs.ts";
import { PartitionReading } from "./partition-reading.ts";
import { Transactions } from "./transactions.ts";

export interface LogSettings {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly maker: TopicMaker;
  readonly prefix: string;
  readonly state: LogState;
}

/** A commit is three requests, one after the other; Kafka gives up what its process left open after so many times as long as one may take, */
const transactionFactor = 2;
/** and takes no longer times than this, unless it is told to. */
const transactionMsMax = 900_000;
/** Kafka looks for such transactions every ten seconds, unless it is told otherwise. */
const decidedMs = 15_000;
/** How long closing waits for commits under way. */
const drainMs = 1_000;

/** The `log` contract on Kafka, for what `CheckedLog` has looked at: a topic for each log, commits as transactions, and the rest in the journal. */
export class KafkaLog implements LogEngine {
  readonly capabilities: LogCapabilities;
  readonly #world: World;
  readonly #journal: Journal;
  readonly #logs: Logs;
  readonly #appends: LogAppends;
  readonly #partitions: PartitionReading;
  readonly #reading: LogReading;
  readonly #writers: LogWriters;
  readonly #undecidedMs: number;
  #closing: Promise<void> | undefined;

  constructor({ cluster, journal, maker, prefix, state }: LogSettings) {
    this.capabilities = {
      survives: state.survives,
      transactions: true,
      sequences: true,
      deduplicate: true,
      instants: "exact",
      retentionLatenessMs: state.retentionLatenessMs,
      partitionsMax,
      recordBytesMax: 4 * 1024 * 1024,
      keyBytesMax: 65_535,
      batchBytesMax: 8 * 1024 * 1024,
      commitBytesMax: 15 * 1024 * 1024,
    };
    const timeoutMs = Math.min(transactionFactor * cluster.commandTimeoutMs, transactionMsMax);
    this.#undecidedMs = timeoutMs + decidedMs;
    this.#world = cluster.world;
    this.#journal = journal;
    const logs = new Logs({ cluster, journal, maker, prefix });
    const partitions = new PartitionReading({ cluster, logs, undecidedMs: this.#undecidedMs });
    const transactions = new Transactions(cluster, prefix, timeoutMs);
    this.#logs = logs;
    this.#partitions = partitions;
    this.#appends = new LogAppends(cluster, journal, logs);
    this.#reading = new LogReading(cluster, journal, logs, partitions);
    this.#writers = new LogWriters({ cluster, journal, logs, partitions, transactions });
  }

  async declare(log: string, declaration: LogDeclaration): Promise<void> {
    await this.#logs.declare(log, declaration, this.capabilities);
  }

  async logs(): Promise<readonly string[]> {
    return this.#logs.names();
  }

  async remove(log: string): Promise<void> {
    await this.#logs.remove(log);
  }

  async describe(log: string): Promise<LogDescription> {
    const found = await this.#logs.findNow(log, "describing a log");
    const { retentionMs, retentionBytes } = found;
    const partitions = Array.from({ length: found.partitions }, (_, partition) =>
      this.#partitions.describe(found, partition),
    );
    return {
      log,
      retentionMs: finite(retentionMs),
      retentionBytes: finite(retentionBytes),
      partitions: await Promise.all(partitions),
    };
  }

  async append(batch: LogBatch): Promise<readonly bigint[]> {
    return this.#appends.append(batch);
  }

  async read(request: LogRead, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<LogPage> {
    return this.#reading.read(request, signal);
  }

  async locate(log: string, partition: number, at: number): Promise<bigint> {
    const found = await this.#logs.find(log);
    checkLogPartition(log, partition, found.partitions);
    return this.#partitions.locate(found, partition, at);
  }

  async positions(reader: string, log: string): Promise<ReadonlyMap<number, bigint>> {
    const positions = await this.#reading.positions(reader, log, this.#undecidedMs);
    return new Map(Array.from(positions, ([partition, position]) => [partition, toPosition(position)]));
  }

  async forget(reader: string, log: string): Promise<void> {
    const { number } = await this.#logs.find(log);
    await this.#journal.submit<"forget">({ kind: "forget", log: number, reader }, "forgetting a reader");
  }

  async openWriter(name: string, logs: readonly string[]): Promise<LogWriter> {
    return this.#writers.open(name, logs);
  }

  async commit(writer: LogWriter, change: LogCommit): Promise<readonly (readonly (bigint | undefined)[])[]> {
    return this.#writers.commit(writer, change);
  }

  /** Ends reads that wait, and lets commits end, for a second. The connections stay open. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#reading.close(new TenonError("closed", "The Kafka engine was closed."));
    const { promise: overdue, resolve } = Promise.withResolvers<void>();
    const cancel = this.#world.timers.schedule(drainMs, resolve);
    await Promise.race([this.#writers.settled(), overdue]);
    cancel();
  }
}

function finite(retention: number): number | undefined {
  return retention === Number.POSITIVE_INFINITY ? undefined : retention;
}
