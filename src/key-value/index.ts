export { bytes, type Codec, json, type StandardSchemaV1, text } from "../codec/index.ts";
export type { Change, CommitResult, Conditions, Entry, KeyValue, ScanOptions, WatchEvent, Written } from "./api.ts";
export type { Added, AddOptions, Counter } from "./counter.ts";
export { type KeyValueOptions, keyValue } from "./key-value.ts";
