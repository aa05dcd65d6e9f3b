export * from "./errors.ts";
export type * from "./key-value.ts";
export type * from "./messages.ts";
export type * from "./sql.ts";
