/** What is used of `DatabaseSync` from node:sqlite. */
export interface SqliteDatabase {
  /** Whether a transaction is open on this connection. */
  readonly isTransaction: boolean;
  exec(sql: string): void;
  prepare(sql: string): SqliteStatement;
}

export interface SqliteStatement {
  run(...parameters: SqliteParameter[]): { readonly changes: number | bigint };
  all(...parameters: SqliteParameter[]): unknown[];
}

export type SqliteParameter = string | number | bigint | Uint8Array | null;
