export { bytes } from "./bytes.ts";
export type { Codec } from "./codec.ts";
export { json } from "./json.ts";
export { type SchemaIssue, type SchemaResult, type StandardSchemaV1, schemaCodec } from "./schema.ts";
export { text } from "./text.ts";
