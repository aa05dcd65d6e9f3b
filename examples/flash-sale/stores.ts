import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { EngineStore } from "./engine-store.ts";
import type { OrdersDatabase } from "./orders-database.ts";
import { saleServers } from "./sale-servers.ts";

/** Where a sale keeps what it must not forget; plain data, so that every process of the sale can be told. */
export interface SaleStores {
  readonly engine: EngineStore;
  readonly orders: OrdersDatabase;
}

/** Everything in one directory, and nothing to install. */
export function embeddedStores(directory: string): SaleStores {
  const engine = join(directory, "engine");
  mkdirSync(engine, { recursive: true });
  return { engine: { type: "embedded", directory: engine }, orders: sqliteOrders(directory) };
}

export function describeStores({ engine, orders }: SaleStores): string {
  return `on ${describeEngine(engine)}, orders in ${orders.type === "postgres" ? "PostgreSQL" : "SQLite"}`;
}

function describeEngine(engine: EngineStore): string {
  if (engine.type === "embedded") return "the embedded engine";
  const [messages, keyValue] = [saleServers[engine.messages.type].title, saleServers[engine.keyValue.type].title];
  return messages === keyValue ? messages : `${messages} with key-values on ${keyValue}`;
}

export function sqliteOrders(directory: string): OrdersDatabase {
  return { type: "sqlite", file: join(directory, "orders.db") };
}
