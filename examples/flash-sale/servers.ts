import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TenonError } from "tenon/contracts";
import { engineAddress } from "../../scripts/engines/addresses.ts";
import { type RedisServer, redisServerMissing, startRedis } from "../../scripts/engines/redis-server.ts";
import { UsageError } from "./options.ts";
import type { OrdersDatabase } from "./orders-database.ts";
import { createSchema, dropSchema } from "./postgres-orders.ts";
import { openRedis, removeKeys } from "./redis-store.ts";
import { type SaleStores, sqliteOrders } from "./stores.ts";

export interface ServerOptions {
  /** URLs that were asked for; without them servers are looked for where `npm run engines` starts them. */
  readonly redis: string | undefined;
  readonly postgres: string | undefined;
  readonly crash: boolean;
  /** Of the run; what is in files is there. */
  readonly directory: string;
}

/** The stores of one run, and what the run owns of their servers. */
export interface ServerStores {
  readonly stores: SaleStores;
  /** A server that is this run's alone, so that it may be killed. */
  readonly ownRedis: RedisServer | undefined;
  /** Stops what is the run's own. Without `keep` the servers of others hold nothing of the sale afterwards. */
  close(options: { readonly keep: boolean }): Promise<void>;
}

/** How long a server may take to answer before it counts as not there. */
const connectTimeoutMs = 2_000;

/** Finds Redis and PostgreSQL, or starts what is to be killed. Throws `UsageError` when a server that is needed is not there. */
export async function openServers(options: ServerOptions): Promise<ServerStores> {
  const { directory } = options;
  const name = `flash-sale-${randomBytes(6).toString("hex")}`;
  const ownRedis = options.crash && options.redis === undefined ? await startOwnRedis(directory) : undefined;
  try {
    const url = ownRedis?.url ?? options.redis ?? engineAddress("redis").url;
    await findRedis(url, name);
    const orders = await findOrders(options.postgres, name.replaceAll("-", "_"), directory);
    const stores: SaleStores = { engine: { type: "redis", url, prefix: name }, orders };
    // Says where a kept sale is. Without the URLs, which may hold passwords.
    const kept = { redis: { prefix: name, own: ownRedis !== undefined }, orders: { ...orders, url: undefined } };
    writeFileSync(join(directory, "stores.json"), `${JSON.stringify(kept, undefined, 2)}\n`);
    return {
      stores,
      ownRedis,
      async close({ keep }) {
        if (!keep && ownRedis === undefined) await removeKeys(url, name);
        if (!keep && orders.type === "postgres") await dropSchema(orders.url, orders.schema);
        await ownRedis?.dispose();
      },
    };
  } catch (error) {
    await ownRedis?.dispose();
    throw error;
  }
}

async function startOwnRedis(parent: string): Promise<RedisServer> {
  if (redisServerMissing !== false) {
    throw new UsageError(
      `${redisServerMissing}, and --crash kills a server of its own: install it, or name one that is left alone with --redis`,
    );
  }
  const directory = join(parent, "redis");
  mkdirSync(directory);
  return startRedis({ directory, appendfsync: "always" });
}

/** Opens an engine once, which also looks at the server's settings. */
async function findRedis(url: string, prefix: string): Promise<void> {
  try {
    const engine = await openRedis({ url, prefix, connectTimeoutMs });
    await engine.close();
  } catch (error) {
    if (!(error instanceof TenonError)) throw error;
    if (error.code !== "unavailable") throw new UsageError(`Redis at ${hostOf(url)}: ${error.message}`);
    throw new UsageError(`no Redis answers at ${hostOf(url)}; start one with: npm run engines -- up redis postgres`);
  }
}

/** PostgreSQL when it is there, SQLite when it is not; a database that was asked for must be there. */
async function findOrders(asked: string | undefined, schema: string, directory: string): Promise<OrdersDatabase> {
  const url = asked ?? engineAddress("postgres").url;
  try {
    await createSchema(url, schema, connectTimeoutMs);
    return { type: "postgres", url, schema };
  } catch (error) {
    if (asked === undefined) return sqliteOrders(directory);
    const reason = (error as Error).message || "no answer";
    throw new UsageError(
      `PostgreSQL at ${hostOf(url)}: ${reason}; start one with: npm run engines -- up redis postgres`,
    );
  }
}

/** Without the credentials that a URL may hold. */
function hostOf(url: string): string {
  return new URL(url).host;
}
