import { DatabaseSync } from "node:sqlite";
import type { SqlEngine } from "tenon/contracts";
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

export async function openOrders(database: OrdersDatabase): Promise<OpenOrders> {
  if (database.type === "sqlite") return openSqlite(database.file);
  // Loading the client takes time, and only here is it needed.
  const { openPostgres } = await import("./postgres-orders.ts");
  const { sql, close } = openPostgres(database.url, database.schema);
  return { sql, close, [Symbol.asyncDispose]: close };
}

function openSqlite(file: string): OpenOrders {
  const database = new DatabaseSync(file);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  const close = async () => database.close();
  return { sql: sqlite(database), close, [Symbol.asyncDispose]: close };
}
