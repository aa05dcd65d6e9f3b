import { TenonError } from "../../../contracts/errors.ts";
import type { LogPartitionDescription, LogRecord } from "../../../contracts/log.ts";
import { checkReadPosition } from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, asRead, closed, failureOf, kafkaCode } from "../failures.ts";
import type { FetchedPartition } from "../fetching/fetching.ts";
import { UnreadableBatch } from "../fetching/place.ts";
import type { JournaledLog } from "../journal/log.ts";
import { isolation, listOffset, offsetAt } from "../requests.ts";
import { committedRecords } from "./committed.ts";
import type { Logs } from "./logs.ts";

/** A page ends with the record that makes it larger. */
const pageBytes = 1024 * 1024;
/** To find single records. */
const lookBytes = 64 * 1024;
const pauseMs = { first: 2, longest: 50 };

export interface ReadingParts {
  readonly cluster: Cluster;
  readonly logs: Logs;
  /** How long what others left undecided is waited for. */
  readonly undecidedMs: number;
}

export interface Page {
  readonly records: readonly LogRecord[];
  readonly next: bigint;
}

export interface PageRequest {
  readonly partition: number;
  readonly from: bigint;
  readonly limit: number;
}

/**
 * Partitions as those see them who see only what is committed. Kafka confirms a commit before it has marked the commit's partitions, and shows nothing behind a record whose transaction is not decided. So whoever looks
 * here waits until all is decided that stood in the partition when the look began: then what was confirmed before is seen, and with one output of a commit the others.
 */
export class PartitionReading {
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #logs: Logs;
  readonly #undecidedMs: number;
  #closed = false;

  constructor({ cluster, logs, undecidedMs }: ReadingParts) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    this.#logs = logs;
    this.#undecidedMs = undecidedMs;
  }

  /** What there is from a position on. */
  async page(log: JournaledLog, { partition, from, limit }: PageRequest, signal?: AbortSignal): Promise<Page> {
    const records: LogRecord[] = [];
    let next = from;
    let bytes = 0;
    let end: bigint | undefined;
    const undecided = this.#undecided(log, partition, signal);
    for (;;) {
      let fetched: FetchedPartition | undefined;
      try {
        fetched = await this.#fetch(log, partition, next, pageBytes);
      } catch (error) {
        // What was read goes first; what cannot be read is met again by the next call.
        if (records.length > 0) return { records, next };
        throw error;
      }
      if (fetched === undefined || from > (end ?? fetched.highWatermark)) {
        await this.#checkRange(log, partition, from);
        if (records.length > 0) return { records, next };
        continue;
      }
      end ??= fetched.highWatermark;
      const found = committedRecords(fetched, next, limit - records.length);
      const hasMoved = found.next > next;
      records.push(...found.records);
      bytes += found.bytes;
      next = found.next;
      if (records.length === limit || bytes >= pageBytes || next >= end) return { records, next };
      // More of what is decided may not have fitted.
      if (hasMoved && next < fetched.lastStableOffset) continue;
      // Those who follow a log need not wait for long for what they cannot have yet.
      if (!(await undecided.wait(records.length > 0 ? this.#cluster.commandTimeoutMs : this.#undecidedMs))) {
        if (records.length > 0) return { records, next };
        undecided.fail();
      }
    }
  }

  /** Where the partition ends. */
  async end(log: JournaledLog, partition: number): Promise<bigint> {
    const end = await this.#offset(log, partition, offsetAt.latest);
    const undecided = this.#undecided(log, partition);
    for (;;) {
      const stable = await this.#offset(log, partition, offsetAt.latest, isolation.committed);
      if (stable >= end) return stable;
      if (!(await undecided.wait(this.#undecidedMs))) undecided.fail();
    }
  }

  /** Where the partition ends at least, with what is not decided. */
  highest(log: JournaledLog, partition: number): Promise<bigint> {
    return this.#offset(log, partition, offsetAt.latest);
  }

  /** The first record at or after an instant; the end when there is none. */
  async locate(log: JournaledLog, partition: number, at: number): Promise<bigint> {
    const end = await this.end(log, partition);
    const instant = Math.min(Math.max(0, Math.ceil(at)), Number.MAX_SAFE_INTEGER);
    const found = await this.#offset(log, partition, instant);
    if (found < 0n) return end;
    const record = await this.#first(log, partition, found, end, ({ appendedAt }) => appendedAt >= at);
    return record?.position ?? end;
  }

  async describe(log: JournaledLog, partition: number): Promise<LogPartitionDescription> {
    const next = await this.end(log, partition);
    const first = await this.#offset(log, partition, offsetAt.earliest);
    const newest = await this.#newest(log, partition, first, next).catch(whatIsUnreadable);
    const oldest = newest && (await this.#first(log, partition, first, next).catch(whatIsUnreadable));
    if (oldest === undefined) return { first: next, next, lastAt: undefined };
    // A batch that cannot be read may begin before what is kept of it.
    return { first: oldest.position > first ? oldest.position : first, next, lastAt: newest?.appendedAt };
  }

  /** The first such record between two positions. */
  async #first(
    log: JournaledLog,
    partition: number,
    from: bigint,
    end: bigint,
    isSuch: (record: LogRecord) => boolean = () => true,
  ): Promise<LogRecord | undefined> {
    for await (const record of this.#between(log, partition, from, end)) if (isSuch(record)) return record;
    return undefined;
  }

  /** The last record between two positions: steps back beyond what is none until there is one. */
  async #newest(log: JournaledLog, partition: number, first: bigint, end: bigint): Promise<LogRecord | undefined> {
    for (let back = 2n; ; back *= 8n) {
      const start = end - back > first ? end - back : first;
      let newest: LogRecord | undefined;
      for await (const record of this.#between(log, partition, start, end)) newest = record;
      if (newest !== undefined || start === first) return newest;
    }
  }

  async *#between(log: JournaledLog, partition: number, from: bigint, end: bigint): AsyncGenerator<LogRecord> {
    for (let next = from; next < end; ) {
      const fetched = await this.#fetch(log, partition, next, lookBytes);
      const found = fetched && committedRecords(fetched, next, Number.POSITIVE_INFINITY);
      for (const record of found?.records ?? []) {
        if (record.position >= end) return;
        yield record;
      }
      // What was there went away meanwhile.
      const further = found?.next ?? (await this.#offset(log, partition, offsetAt.earliest));
      if (further <= next) return;
      next = further;
    }
  }

  /** `undefined`: there is nothing at this position, and never comes, or it is beyond the end. */
  async #fetch(
    log: JournaledLog,
    partition: number,
    from: bigint,
    bytesMax: number,
  ): Promise<FetchedPartition | undefined> {
    if (this.#closed) throw closed("reading a log");
    const asked = { what: "reading a log", outcome: "not-applied" } as const;
    const offset = from < Number.MAX_SAFE_INTEGER ? Number(from) : Number.MAX_SAFE_INTEGER;
    const request = { offset, maxWaitMs: 0, bytesMax, isolation: isolation.committed };
    try {
      return await this.#logs.leader(log, partition, asked, (connection, topic) =>
        this.#cluster.fetching.partition(connection, topic, partition, request),
      );
    } catch (error) {
      if (answeredCode(error) === kafkaCode.offsetOutOfRange) return undefined;
      return asRead(failureOf(error, asked.what, "not-applied"));
    }
  }

  async #checkRange(log: JournaledLog, partition: number, from: bigint): Promise<void> {
    const end = await this.end(log, partition);
    const first = await this.#offset(log, partition, offsetAt.earliest);
    checkReadPosition({ log: log.name, partition, from }, first, end);
  }

  async #offset(
    log: JournaledLog,
    partition: number,
    at: number,
    shown?: Parameters<typeof listOffset>[6],
  ): Promise<bigint> {
    if (this.#closed) throw closed("reading a log");
    const check = () => this.#logs.checkThere(log);
    return BigInt(await listOffset(this.#cluster, "reading a log", log.kafkaName, partition, at, check, shown));
  }

  /** Waiting for a transaction of somebody else. */
  #undecided({ name }: JournaledLog, partition: number, signal?: AbortSignal) {
    const { clock, timers } = this.#world;
    const started = clock.monotonic();
    let pause = pauseMs.first;
    return {
      /** A little. `false`: it took so long already. */
      wait: async (ms: number): Promise<boolean> => {
        if (clock.monotonic() - started >= ms) return false;
        await timers.sleep(pause, { signal }).catch(() => undefined);
        signal?.throwIfAborted();
        pause = Math.min(pauseMs.longest, pause * 2);
        return true;
      },
      fail: (): never => {
        const text = `what stands next in log ${name}/${partition} belongs to a commit that was not decided within ${this.#undecidedMs} ms; Kafka decides it soon, or when its writer is opened anew. Try again`;
        throw new TenonError("unavailable", text, { fields: { log: name, partition } });
      },
    };
  }

  close(): void {
    this.#closed = true;
  }
}

/** Where it stands is known: who wants to begin behind it has to hear where the log begins and ends. */
function whatIsUnreadable(error: unknown): { readonly position: bigint; readonly appendedAt: undefined } {
  if (!(error instanceof UnreadableBatch)) throw error;
  return { position: BigInt(error.position), appendedAt: undefined };
}
