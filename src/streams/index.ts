export {
  bytes,
  type Codec,
  json,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchemaV1,
  schemaCodec,
  text,
} from "../codec/index.ts";
export type { Outcome } from "../contracts/errors.ts";
export { TenonError } from "../contracts/errors.ts";
export type { LogDescription, LogPartitionDescription } from "../contracts/log.ts";
export type { MessageHeaders } from "../contracts/messages.ts";
export type { Place } from "./appender.ts";
export {
  type Entry,
  type EntryOptions,
  type Log,
  type LogEntry,
  type LogOptions,
  type LogSettings,
  log,
  type ReadOptions,
  type StreamsEngine,
  type TailOptions,
} from "./log.ts";
export { type Pipe, type PipeOptions, pipe } from "./pipe.ts";
export type { PipeAnswer, PipeContext, PipeHandler } from "./pipe-partition.ts";
export type { LogStart } from "./reading.ts";
