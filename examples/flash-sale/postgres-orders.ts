import { Client, Pool } from "pg";
import type { SqlEngine } from "tenon/contracts";
import { postgres } from "tenon/postgres";

export interface PostgresOrders {
  readonly sql: SqlEngine;
  close(): Promise<void>;
}

export function openPostgres(url: string, schema: string): PostgresOrders {
  const pool = new Pool({ connectionString: url, options: `-c search_path=${schema}`, max: 4 });
  // An idle connection that breaks is replaced when the next transaction asks for one.
  pool.on("error", () => {});
  return { sql: postgres(pool), close: () => pool.end() };
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
