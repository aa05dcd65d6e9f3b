import type {
  LogBatch,
  LogCapabilities,
  LogCommit,
  LogDeclaration,
  LogDescription,
  LogOutput,
  LogPage,
  LogPartitionDescription,
  LogRead,
  LogRecord,
  LogWriter,
  NewRecord,
  ReaderPosition,
} from "../../../contracts/log.ts";
import type { ProducerMark } from "../../../contracts/messages.ts";
import { bigint, boolean, bytes, list, number, optional, record, text, word } from "./codecs.ts";
import { headers } from "./message-codecs.ts";

export const logCapabilities = record<LogCapabilities>({
  survives: word("nothing", "process", "machine", "replicas"),
  transactions: boolean,
  sequences: boolean,
  deduplicate: boolean,
  instants: word("exact", "coarse"),
  retentionLatenessMs: number,
  partitionsMax: number,
  recordBytesMax: number,
  keyBytesMax: number,
  batchBytesMax: number,
  commitBytesMax: number,
});

export const logDeclaration = record<LogDeclaration>({
  partitions: number,
  retentionMs: optional(number),
  retentionBytes: optional(number),
});

export const logDescription = record<LogDescription>({
  log: text,
  retentionMs: optional(number),
  retentionBytes: optional(number),
  partitions: list(record<LogPartitionDescription>({ first: bigint, next: bigint, lastAt: optional(number) })),
});

const newRecord = record<NewRecord>({ body: bytes, key: optional(text), headers: optional(headers) });

export const logBatch = record<LogBatch>({
  log: text,
  partition: number,
  records: list(newRecord),
  producer: optional(record<ProducerMark>({ id: text, epoch: number, sequence: number })),
});

export const logRead = record<LogRead>({
  log: text,
  partition: number,
  from: bigint,
  limit: number,
  waitMs: optional(number),
});

export const logPage = record<LogPage>({
  records: list(
    record<LogRecord>({
      position: bigint,
      key: optional(text),
      body: bytes,
      headers: optional(headers),
      appendedAt: number,
    }),
  ),
  next: bigint,
});

export const logWriter = record<LogWriter>({ name: text, epoch: bigint, logs: list(text) });

export const logCommit = record<LogCommit>({
  outputs: optional(
    list(
      record<LogOutput>({ log: text, partition: number, records: list(newRecord), sequences: optional(list(bigint)) }),
    ),
  ),
  positions: optional(list(record<ReaderPosition>({ reader: text, log: text, partition: number, position: bigint }))),
});
