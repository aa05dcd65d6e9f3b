/**
 * The caller's own SQL database. Tenon brings no connection and no pool: it joins the transaction that the caller's effect is in.
 */
export interface SqlEngine {
  readonly dialect: "sqlite" | "postgres" | "mysql";
  /**
   * Runs `work` in one transaction: commits when it resolves, rolls back when it rejects. Transactions of one engine may be
   * asked for concurrently. A commit whose reply is lost rejects with `outcome: "unknown"`.
   */
  transaction<T>(work: (transaction: SqlTransaction) => Promise<T> | T): Promise<T>;
}

export type SqlValue = string | number | bigint | Uint8Array | null;
export type SqlRow = Readonly<Record<string, SqlValue>>;

/** Two methods, so that any driver or ORM can be adapted. Parameters are positional, written `?` in every dialect. */
export interface SqlTransaction {
  /** The number of rows changed. */
  execute(sql: string, parameters?: readonly SqlValue[]): Promise<number>;
  query(sql: string, parameters?: readonly SqlValue[]): Promise<readonly SqlRow[]>;
}
