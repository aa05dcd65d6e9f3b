import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { TenonError } from "tenon/contracts";
import { engineAddress } from "../../scripts/engines/addresses.ts";
import type { Killable } from "./crashes.ts";
import { UsageError } from "./options.ts";
import type { OrdersDatabase } from "./orders-database.ts";
import { createSchema, dropSchema } from "./postgres-orders.ts";
import { type OwnServer, type ServerDriver, type ServerStore, type ServerType, saleServers } from "./sale-servers.ts";
import { type SaleStores, sqliteOrders } from "./stores.ts";

export interface ServerOptions {
  readonly engine: ServerType;
  /** The engine's own server when left out. */
  readonly keyValue: ServerType | undefined;
  /** URLs that were asked for; other servers are looked for where `npm run engines` starts them. */
  readonly urls: Readonly<Partial<Record<ServerType, string>>>;
  readonly crash: boolean;
  /** Of the run; what is in files is there. */
  readonly directory: string;
}

/** The stores of one run, and what the run owns of their servers. */
export interface ServerStores {
  readonly stores: SaleStores;
  /** Servers that are this run's alone, so that they may be killed. */
  readonly own: readonly Killable[];
  /** Stops what is the run's own. Without `keep` the servers of others hold nothing of the sale afterwards. */
  close(options: { readonly keep: boolean }): Promise<void>;
}

/** How long a server may take to answer before it counts as not there. */
const connectTimeoutMs = 2_000;

/** Finds the servers, or starts what is to be killed. Throws `UsageError` when a server that is needed is not there. */
export async function openServers(options: ServerOptions): Promise<ServerStores> {
  // Letters and digits: what every server takes in a name.
  const prefix = `sale${randomBytes(6).toString("hex")}`;
  const { engine, keyValue = engine, directory } = options;
  const servers = new Map<ServerType, FoundServer>();
  try {
    for (const type of new Set([engine, keyValue])) servers.set(type, await FoundServer.find(type, prefix, options));
    const orders = await findOrders(options.urls.postgres, `${prefix}orders`, directory);
    const [messages, keeping] = [servers.get(engine)!.store, servers.get(keyValue)!.store];
    // Says where a kept sale is. Without the URLs, which may hold passwords.
    const kept = { messages: engine, keyValue, prefix, orders: { ...orders, url: undefined } };
    writeFileSync(join(directory, "stores.json"), `${JSON.stringify(kept, undefined, 2)}\n`);
    return {
      stores: { engine: { type: "servers", messages, keyValue: keeping }, orders },
      own: [...servers.values()].flatMap((server) => server.killable),
      async close({ keep }) {
        if (!keep && orders.type === "postgres") await dropSchema(orders.url, orders.schema);
        for (const server of servers.values()) await server.close(keep);
      },
    };
  } catch (error) {
    for (const server of servers.values()) await server.close(false);
    throw error;
  }
}

/** One that somebody else runs, or one of the run's own. */
class FoundServer {
  readonly store: ServerStore;
  readonly #driver: ServerDriver;
  readonly #own: OwnServer | undefined;

  private constructor(store: ServerStore, driver: ServerDriver, own: OwnServer | undefined) {
    this.store = store;
    this.#driver = driver;
    this.#own = own;
  }

  static async find(type: ServerType, prefix: string, { urls, crash, directory }: ServerOptions): Promise<FoundServer> {
    const { engine, title, load } = saleServers[type];
    const driver = await load();
    const asked = urls[type];
    const own = crash && asked === undefined ? await driver.startOwn?.(directory) : undefined;
    const url = own?.url ?? asked ?? engineAddress(engine).url;
    const found = new FoundServer({ type, url, prefix }, driver, own);
    try {
      await driver.prepare(found.store, connectTimeoutMs);
      return found;
    } catch (error) {
      await own?.dispose();
      const isThere = error instanceof TenonError && error.code !== "unavailable";
      if (isThere) throw new UsageError(`${title} at ${hostOf(url)}: ${error.message}`);
      throw new UsageError(`no ${title} answers at ${hostOf(url)}; start one with: npm run engines -- up ${engine}`);
    }
  }

  get killable(): readonly Killable[] {
    return this.#own === undefined ? [] : [{ name: saleServers[this.store.type].title, server: this.#own }];
  }

  async close(keep: boolean): Promise<void> {
    if (this.#own !== undefined) await this.#own.dispose();
    else if (!keep) await this.#driver.remove(this.store);
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
    throw new UsageError(`PostgreSQL at ${hostOf(url)}: ${reason}; start one with: npm run engines -- up postgres`);
  }
}

/** Without the credentials that a URL may hold. */
function hostOf(url: string): string {
  return new URL(url).host;
}
