export type { SqliteDatabase, SqliteParameter, SqliteStatement } from "./database.ts";
export { type SqliteOptions, sqlite } from "./sqlite.ts";
