import type { MessageHeaders, ProducerMark } from "./messages.ts";

/**
 * What an engine must do to carry logs: partitioned sequences of records that stay where they are when they were read, and are read by
 * offset or by instant, by anybody, as often as wanted.
 *
 * Where a *reader* stands is kept by name, for the reader to go on from. A *writer* is opened under a name and fences whoever opened the name before: so the
 * outputs of a computation and the position of its input can be committed together, by one owner at a time. Engines do not retry, batch, decode, validate or
 * trace, and give partitions to nobody: the blocks above do. Every failure is a `TenonError`; `outcome: "unknown"` marks a change that may have happened.
 */
export interface LogEngine {
  readonly capabilities: LogCapabilities;

  /**
   * Makes the log when it is not there. Idempotent and safe to call concurrently. Another partition count than before: `conflict`. Retentions
   * that are given replace the former ones; those left out stay, and a log that never had one keeps every record. Durable when it resolves.
   */
  declare(log: string, declaration: LogDeclaration): Promise<void>;

  /** Every declared log, sorted by name. Topics are none: a log and a topic of one name have nothing to do with each other. */
  logs(): Promise<readonly string[]>;

  /**
   * Deletes the log with its records, the positions of its readers, and what is remembered of producers and sequences. `not-found` when there is none. Reads that wait reject with
   * `not-found`. A log declared under the same name afterwards shares nothing with it. Durable when it resolves.
   */
  remove(log: string): Promise<void>;

  /** `not-found` when the log was never declared, or was removed. Exact at some instant between call and answer; what it tells of is durable. */
  describe(log: string): Promise<LogDescription>;

  /**
   * Stores records at the end of one partition, in order, all or nothing; `invalid` when there are none or they exceed a limit. Answers their positions in the same order.
   * Durable, as `capabilities.survives` says, when it resolves; visible to readers only then. The arrays and bytes belong to the engine until it settles. Calls may run
   * concurrently; calls for one partition take effect in the order in which they were made.
   *
   * With `producer` set (`unsupported` where `capabilities.deduplicate` is false): a sequence that is already stored is answered with its original positions
   * and stored no second time; one beyond the next expected is refused (`conflict`); one of an older epoch is refused (`lost`).
   *
   * `overloaded` when the engine is out of space.
   */
  append(batch: LogBatch): Promise<readonly bigint[]>;

  /**
   * The records from a position on, in order: at least one when there is one, at most `limit`, and fewer than there are when these are large. Waits up to `waitMs` for the first;
   * an empty page means that there was none. Rejects with the signal's reason when it aborts, with `closed` when the engine closes. Only what is durable and committed is shown, and
   * nothing behind what is not: whoever goes on from `next` misses none. Any number may run concurrently.
   *
   * `not-found` (fields `first`) when records from that position on were dropped: a reader must not go past them unknowingly. `invalid` beyond the end.
   */
  read(request: LogRead, options?: { readonly signal?: AbortSignal | undefined }): Promise<LogPage>;

  /**
   * The position of the first record that is kept and was appended at or after the instant, by the engine's clock; the partition's end when there is none. Where
   * `capabilities.instants` is `"coarse"` it may be an earlier one, never a later.
   */
  locate(log: string, partition: number, at: number): Promise<bigint>;

  /** Where a reader stands: the position of the record that it has to read next, by partition; those that were never committed are left out. */
  positions(reader: string, log: string): Promise<ReadonlyMap<number, bigint>>;

  /** Forgets where a reader stands in a log. No error when nothing is known. Durable when it resolves. */
  forget(reader: string, log: string): Promise<void>;

  /**
   * Opens a writer. Its epoch is greater than that of every earlier opening of the name, also across restarts. When it resolves, the name's earlier writers are fenced, durably: what they commit
   * in any of `logs` is refused with `lost`, and what they committed before, also with an outcome that nobody learned, is decided: `positions` and reads show it, or it never happens.
   * `logs`: every log that its commits will touch, as outputs or by positions; `not-found` when one was not declared.
   *
   * After a failure with an unknown outcome the former writer may be fenced; opening again is safe.
   */
  openWriter(name: string, logs: readonly string[]): Promise<LogWriter>;

  /**
   * Stores outputs, and sets where readers stand, under a writer's epoch. All of it or nothing, also for readers: none meets a part of it. Durable when it resolves. Answers the positions
   * by output and record. An empty change only finds out whether the writer is fenced.
   *
   * `lost` when the writer was fenced: then nothing of it happened. One commit of a writer at a time (`conflict`). After an unknown outcome the change must not be repeated: the writer
   * is opened anew, and `positions` then says whether it happened. A commit may also move a reader back; as it is done under an epoch, none of a former owner comes after it.
   *
   * Where `capabilities.transactions` is false, a change is one output or the position of one reader in one partition; everything else is `unsupported`.
   * `invalid`: a log that the writer was not opened for, two outputs or two positions for the same place, a position beyond the partition's end, more than 1,000 outputs and positions
   * or another limit.
   */
  commit(writer: LogWriter, change: LogCommit): Promise<readonly (readonly (bigint | undefined)[])[]>;
}

export interface LogCapabilities {
  /** What a resolved append or commit survives: nothing, the process' crash, the machine's, the loss of a replica. */
  readonly survives: "nothing" | "process" | "machine" | "replicas";
  /** Whether several outputs and positions can be committed together. */
  readonly transactions: boolean;
  /** Whether an output's records may carry `sequences`. */
  readonly sequences: boolean;
  /** Whether `append` knows a batch that its producer repeats. */
  readonly deduplicate: boolean;
  /** Whether `locate` is exact, or may answer an earlier position. */
  readonly instants: "exact" | "coarse";
  /** How long a record that its retention does not keep may still be there on an idle engine, in milliseconds; `Infinity`: for as long as it likes. */
  readonly retentionLatenessMs: number;
  readonly partitionsMax: number;
  /** The largest body plus key plus headers of one record, in bytes. */
  readonly recordBytesMax: number;
  /** The largest key, in bytes of UTF-8. */
  readonly keyBytesMax: number;
  /** What the records of one batch, or of one output, may take together: bodies, keys, headers, and 32 bytes for each. */
  readonly batchBytesMax: number;
  /** What the outputs of one commit may take together. */
  readonly commitBytesMax: number;
}

export interface LogDeclaration {
  /** 1 to `capabilities.partitionsMax`; fixed for ever. */
  readonly partitions: number;
  /** How long a record is kept at least, from its append on, in milliseconds; `Infinity`: for ever. */
  readonly retentionMs?: number | undefined;
  /** How many bytes of its newest records each partition keeps at least; `Infinity`: all. A record may go when either retention lets it. */
  readonly retentionBytes?: number | undefined;
}

export interface LogDescription {
  readonly log: string;
  /** `undefined`: records do not go by age. */
  readonly retentionMs: number | undefined;
  /** `undefined`: records do not go by size. */
  readonly retentionBytes: number | undefined;
  readonly partitions: readonly LogPartitionDescription[];
}

export interface LogPartitionDescription {
  /** The position of the oldest record that is kept; equals `next` when there is none. */
  readonly first: bigint;
  /** The end: greater than the position of every record, and no greater than that of the next one. */
  readonly next: bigint;
  /** When the newest record was appended, by the engine's clock; `undefined` when none is kept. */
  readonly lastAt: number | undefined;
}

export interface NewRecord {
  readonly body: Uint8Array;
  readonly key?: string | undefined;
  readonly headers?: MessageHeaders | undefined;
}

export interface LogBatch {
  readonly log: string;
  readonly partition: number;
  readonly records: readonly NewRecord[];
  /** Identifies the batch across automatic retries. */
  readonly producer?: ProducerMark | undefined;
}

export interface LogRead {
  readonly log: string;
  readonly partition: number;
  /** The first position wanted; from the partition's `first` to its `next`. */
  readonly from: bigint;
  /** At most so many records. */
  readonly limit: number;
  /** How long to wait while there is none, in milliseconds; 0 when left out, `Infinity`: for ever. */
  readonly waitMs?: number | undefined;
}

export interface LogPage {
  readonly records: readonly LogRecord[];
  /** The position to go on from. */
  readonly next: bigint;
}

export interface LogRecord {
  /** Grows within a partition; not always by one. */
  readonly position: bigint;
  readonly key: string | undefined;
  /** Valid for as long as it is referenced; must not be changed. */
  readonly body: Uint8Array;
  readonly headers: MessageHeaders | undefined;
  /** When the engine stored it, ms since the epoch by the engine's clock. Never less than that of the record before it. */
  readonly appendedAt: number;
}

/** Who writes under a name until somebody else opens it. A value: it holds nothing that had to be closed. */
export interface LogWriter {
  readonly name: string;
  readonly epoch: bigint;
  readonly logs: readonly string[];
}

export interface LogCommit {
  readonly outputs?: readonly LogOutput[] | undefined;
  readonly positions?: readonly ReaderPosition[] | undefined;
}

export interface LogOutput {
  readonly log: string;
  readonly partition: number;
  readonly records: readonly NewRecord[];
  /**
   * One for each record, none less than the one before (`unsupported` where `capabilities.sequences` is false). A record whose sequence is not greater than the last one that was stored in this partition under the
   * writer's *name* is stored no second time, whichever epoch stored it, and its position is `undefined`. Records of one sequence stand in one output: so what a writer derives again after a
   * crash, from the same inputs and numbered by them, is stored once.
   */
  readonly sequences?: readonly bigint[] | undefined;
}

export interface ReaderPosition {
  readonly reader: string;
  readonly log: string;
  readonly partition: number;
  /** The record to read next. */
  readonly position: bigint;
}
