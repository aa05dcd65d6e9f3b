import { TenonError } from "./errors.ts";
import type {
  LogBatch,
  LogCapabilities,
  LogCommit,
  LogDeclaration,
  LogOutput,
  LogRead,
  NewRecord,
  ReaderPosition,
} from "./log.ts";
import type { ProducerMark } from "./messages.ts";

/** What every engine refuses alike. */

/** Of logs, readers and writers. */
export const logNameBytesMax = 255;
/** How many outputs and positions one commit may have. */
const partsMax = 1_000;
/** How many records one batch, or one output, may have. */
const recordsMax = 100_000;
const recordOverheadBytes = 32;

export function checkLogName(what: "log" | "reader" | "writer", name: string): void {
  if (typeof name !== "string" || !name.isWellFormed()) {
    throw new TenonError("invalid", `the name of a ${what} must be well-formed text`);
  }
  const bytes = Buffer.byteLength(name);
  if (bytes >= 1 && bytes <= logNameBytesMax) return;
  throw new TenonError("invalid", `the name of a ${what} needs 1 to ${logNameBytesMax} bytes, not ${bytes}`);
}

export function checkLogDeclaration(
  log: string,
  { partitions, retentionMs, retentionBytes }: LogDeclaration,
  { partitionsMax }: LogCapabilities,
): void {
  checkLogName("log", log);
  if (!(Number.isInteger(partitions) && partitions >= 1 && partitions <= partitionsMax)) {
    throw new TenonError("invalid", `log ${log} needs 1 to ${partitionsMax} partitions, not ${partitions}`);
  }
  for (const [name, value] of Object.entries({ retentionMs, retentionBytes })) {
    if (value === undefined || (typeof value === "number" && value >= 0)) continue;
    throw new TenonError("invalid", `${name} of log ${log} must be a number ≥ 0, or Infinity, not ${value}`);
  }
}

/** Throws `conflict` when the log is there with another count. */
export function checkLogPartitions(log: string, existing: number, wanted: number): void {
  if (existing === wanted) return;
  const message = `log ${log} has ${existing} partitions, not ${wanted}; the count is fixed when a log is declared first`;
  throw new TenonError("conflict", message, { fields: { log, partitions: existing } });
}

/** Answers what the records take. */
export function checkLogBatch(batch: LogBatch, capabilities: LogCapabilities): number {
  if (batch.producer !== undefined) {
    if (!capabilities.deduplicate) {
      throw new TenonError("unsupported", `this engine does not know the batches of producers; leave producer out`);
    }
    checkProducer(batch.log, batch.producer);
  }
  return checkRecords(batch, capabilities);
}

function checkProducer(log: string, { id, epoch, sequence }: ProducerMark): void {
  const idBytes = typeof id === "string" ? Buffer.byteLength(id) : 0;
  const counts = [epoch, sequence].every((count) => Number.isSafeInteger(count) && count >= 0);
  if (idBytes >= 1 && idBytes <= 255 && counts) return;
  throw new TenonError(
    "invalid",
    `the producer mark of a batch for log ${log} is not valid: an id of 1 to 255 bytes, epoch and sequence whole and ≥ 0`,
  );
}

function checkRecords(batch: Pick<LogBatch, "log" | "partition" | "records">, capabilities: LogCapabilities): number {
  const { log, partition, records } = batch;
  checkLogName("log", log);
  checkPartition(log, partition);
  if (!Array.isArray(records) || records.length === 0 || records.length > recordsMax) {
    const count = Array.isArray(records) ? records.length : typeof records;
    throw new TenonError("invalid", `a batch for log ${log} needs 1 to ${recordsMax} records, not ${count}`);
  }
  let bytes = 0;
  for (const record of records as readonly NewRecord[])
    bytes += recordOverheadBytes + checkRecord(log, record, capabilities);
  if (bytes <= capabilities.batchBytesMax) return bytes;
  const limit = capabilities.batchBytesMax;
  throw new TenonError("invalid", `a batch of ${bytes} bytes for log ${log} exceeds ${limit}; split it`, {
    fields: { log, batchBytes: bytes, limit },
  });
}

function checkPartition(log: string, partition: number): void {
  if (Number.isInteger(partition) && partition >= 0) return;
  throw new TenonError("invalid", `log ${log} has no partition ${partition}; partitions are counted from 0`);
}

/** Throws `invalid` for a partition that the log does not have. */
export function checkLogPartition(log: string, partition: number, partitions: number): void {
  if (Number.isInteger(partition) && partition >= 0 && partition < partitions) return;
  throw new TenonError("invalid", `log ${log} has no partition ${partition}; it has 0 to ${partitions - 1}`);
}

function checkRecord(log: string, { body, key, headers }: NewRecord, capabilities: LogCapabilities): number {
  if (!(body instanceof Uint8Array)) {
    throw new TenonError("invalid", `the body of a record for log ${log} is no Uint8Array; encode it first`);
  }
  let bytes = body.length;
  if (key !== undefined) {
    if (typeof key !== "string" || !key.isWellFormed()) {
      throw new TenonError("invalid", `the key of a record for log ${log} is not well-formed text`);
    }
    const keyBytes = Buffer.byteLength(key);
    if (keyBytes > capabilities.keyBytesMax) {
      const limit = capabilities.keyBytesMax;
      throw new TenonError("invalid", `a key of ${keyBytes} bytes for log ${log} exceeds the limit of ${limit}`, {
        fields: { log, keyBytes, limit },
      });
    }
    bytes += keyBytes;
  }
  for (const [name, value] of Object.entries(headers ?? {}))
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  if (bytes <= capabilities.recordBytesMax) return bytes;
  const limit = capabilities.recordBytesMax;
  const message = `a record of ${bytes} bytes for log ${log} exceeds the limit of ${limit}; store the body elsewhere and keep a reference`;
  throw new TenonError("invalid", message, { fields: { log, recordBytes: bytes, limit } });
}

export function checkLogRead({ log, partition, from, limit, waitMs = 0 }: LogRead): void {
  checkLogName("log", log);
  checkPartition(log, partition);
  if (typeof from !== "bigint" || from < 0n) {
    throw new TenonError("invalid", `reading log ${log}/${partition} needs a position ≥ 0n to start from`);
  }
  if (!(Number.isInteger(limit) && limit >= 1)) {
    throw new TenonError("invalid", `reading log ${log}/${partition} needs a limit of at least 1, not ${limit}`);
  }
  if (typeof waitMs === "number" && waitMs >= 0) return;
  throw new TenonError("invalid", `waitMs of a read of log ${log}/${partition} must be a number ≥ 0, not ${waitMs}`);
}

/** The position of a read, as it stands to what the partition keeps. */
export function checkReadPosition(
  { log, partition, from }: Pick<LogRead, "log" | "partition" | "from">,
  first: bigint,
  next: bigint,
): void {
  if (from < first) {
    const message = `records from position ${from} of log ${log}/${partition} were dropped; the first one kept is ${first}`;
    throw new TenonError("not-found", message, { fields: { log, partition, from, first } });
  }
  if (from > next) {
    const message = `position ${from} is beyond the end of log ${log}/${partition}, which is ${next}`;
    throw new TenonError("invalid", message, { fields: { log, partition, from, next } });
  }
}

export function checkInstant(log: string, at: number): void {
  if (Number.isFinite(at)) return;
  throw new TenonError("invalid", `an instant to find in log ${log} must be ms since the epoch, not ${at}`);
}

export function checkLocating(log: string, partition: number, at: number): void {
  checkLogName("log", log);
  checkPartition(log, partition);
  checkInstant(log, at);
}

/** What a commit asks for; `logs`: those that its writer was opened for. Answers what its outputs take. */
export function checkLogCommit(logs: readonly string[], change: LogCommit, capabilities: LogCapabilities): number {
  const { outputs = [], positions = [] } = change;
  const parts = outputs.length + positions.length;
  if (parts > partsMax) {
    throw new TenonError("invalid", `a commit of ${parts} outputs and positions exceeds ${partsMax}; split it`);
  }
  if (parts > 1 && !capabilities.transactions) {
    const message = `this engine has no transactions: commit one output or one position at a time, not ${parts} together`;
    throw new TenonError("unsupported", message, { fields: { parts } });
  }
  let bytes = 0;
  const places = new Set<string>();
  for (const output of outputs) {
    bytes += checkOutput(output, capabilities);
    checkPlace(places, logs, output.log, `${output.log}/${output.partition}`);
  }
  for (const position of positions) {
    checkReaderPosition(position);
    checkPlace(places, logs, position.log, `${position.log}/${position.partition} of reader ${position.reader}`);
  }
  if (bytes <= capabilities.commitBytesMax) return bytes;
  const limit = capabilities.commitBytesMax;
  throw new TenonError("invalid", `a commit of ${bytes} bytes exceeds ${limit}; split it`, {
    fields: { commitBytes: bytes, limit },
  });
}

function checkPlace(places: Set<string>, logs: readonly string[], log: string, place: string): void {
  if (!logs.includes(log)) {
    const message = `the writer was not opened for log ${log}; open it with every log that its commits touch`;
    throw new TenonError("invalid", message, { fields: { log } });
  }
  if (places.has(place)) throw new TenonError("invalid", `a commit names ${place} twice; merge the two`);
  places.add(place);
}

function checkOutput(output: LogOutput, capabilities: LogCapabilities): number {
  const { log, records, sequences } = output;
  const bytes = checkRecords(output, capabilities);
  if (sequences === undefined) return bytes;
  if (!capabilities.sequences) {
    throw new TenonError("unsupported", "this engine keeps no sequences of writers; leave them out");
  }
  if (sequences.length !== records.length) {
    throw new TenonError(
      "invalid",
      `an output for log ${log} has ${sequences.length} sequences for ${records.length} records`,
    );
  }
  let last = 0n;
  for (const sequence of sequences) {
    if (typeof sequence !== "bigint" || sequence < last || sequence >= 2n ** 53n) {
      throw new TenonError(
        "invalid",
        `sequences of an output for log ${log} are from 0n to 2^53, none less than the one before`,
      );
    }
    last = sequence;
  }
  return bytes;
}

function checkReaderPosition({ reader, log, partition, position }: ReaderPosition): void {
  checkLogName("reader", reader);
  checkLogName("log", log);
  checkPartition(log, partition);
  if (typeof position === "bigint" && position >= 0n) return;
  throw new TenonError("invalid", `a position of reader ${reader} in log ${log}/${partition} must be ≥ 0n`);
}

/** A reader cannot stand beyond the end. */
export function checkPositionWithin({ reader, log, partition, position }: ReaderPosition, next: bigint): void {
  if (position <= next) return;
  const message = `position ${position} of reader ${reader} is beyond the end of log ${log}/${partition}, which is ${next}`;
  throw new TenonError("invalid", message, { fields: { reader, log, partition, position, next } });
}

export function logNotFound(log: string): TenonError {
  return new TenonError("not-found", `there is no log ${log}; declare it first`, { fields: { log } });
}

export function writerFenced(name: string, epoch: bigint): TenonError {
  const message = `writer ${name} with epoch ${epoch} was fenced: somebody opened it anew; stop writing under it`;
  return new TenonError("lost", message, { fields: { writer: name, epoch } });
}

export function commitUnderWay(name: string): TenonError {
  return new TenonError("conflict", `a commit of writer ${name} is under way; wait for it first`, {
    fields: { writer: name },
  });
}
