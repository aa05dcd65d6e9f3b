import { DatabaseSync } from "node:sqlite";
import { Client, Pool } from "pg";
import type { SqlEngine } from "tenon/contracts";
import { postgres } from "tenon/postgres";
import { sqlite } from "tenon/sqlite";

/** Where orders are kept: what a process must be told to open them. */
export type OrdersDatabase =
  | { readonly type: "sqlite"; readonly file: string }
  /** The schema is this sale's alone. */
  | { readonly type: "postgres"; readonly url: string; readonly schema: string };

export interface OpenOrders extends AsyncDisposable {
  readonly sql: SqlEngine;
  close(): Promise<void>;
}

export function openOrders(database: OrdersDatabase): OpenOrders {
  return database.type === "sqlite" ? openSqlite(database.file) : openPostgres(database.url, database.schema);
}

function openSqlite(file: string): OpenOrders {
  const database = new DatabaseSync(file);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  return openedOrders(sqlite(database), async () => database.close());
}

function openPostgres(url: string, schema: string): OpenOrders {
  const pool = new Pool({ connectionString: url, options: `-c search_path=${schema}`, max: 4 });
  // An idle connection that breaks is replaced when the next transaction asks for one.
  pool.on("error", () => {});
  return openedOrders(postgres(pool), () => pool.end());
}

function openedOrders(sql: SqlEngine, close: () => Promise<void>): OpenOrders {
  return { sql, close, [Symbol.asyncDispose]: close };
}

/** Rejects when no server answers within the time, or it does not know the user. */
export function createSchema(url: string, schema: string, connectTimeoutMs: number): Promise<void> {
  return execute(url, `CREATE SCHEMA ${schema}`, connectTimeoutMs);
}

export function dropSchema(url: string, schema: string): Promise<void> {
  return execute(url, `DROP SCHEMA ${schema} CASCADE`, 10_000);
}

async function execute(url: string, statement: string, connectTimeoutMs: number): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: connectTimeoutMs });
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query(statement);
  } finally {
    await client.end();
  }
}
