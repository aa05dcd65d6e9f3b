export * from "./errors.ts";
export type * from "./key-value.ts";
export * from "./leases.ts";
export type * from "./log.ts";
export type * from "./messages.ts";
export type * from "./rates.ts";
export type * from "./sql.ts";
