import { Redis } from "ioredis";
import type { KeyValueEngine, MessageEngine, RateEngine } from "tenon/contracts";
import { embedded } from "tenon/embedded";
import { redis } from "tenon/redis";
import type { World } from "tenon/world";

/** Where messages and key-values are: what a process must be told to open its engine. */
export type EngineStore =
  | { readonly type: "embedded"; readonly directory: string }
  /** Every key begins with the prefix, which is this sale's alone. */
  | { readonly type: "redis"; readonly url: string; readonly prefix: string };

/** What the sale uses of an engine. */
export interface SaleEngine extends AsyncDisposable {
  readonly messages: MessageEngine;
  readonly keyValue: KeyValueEngine;
  readonly world: World;
  /** Set when other processes may be on the engine too, so that they must share their limits. */
  readonly rates: RateEngine | undefined;
  close(): Promise<void>;
}

export interface OpenOptions {
  /** How long a server may take to be reached. */
  readonly connectTimeoutMs?: number | undefined;
}

export async function openEngine(store: EngineStore, { connectTimeoutMs }: OpenOptions = {}): Promise<SaleEngine> {
  if (store.type === "embedded") {
    const engine = await embedded({ directory: store.directory, durability: "sync" });
    return saleEngine(engine, undefined);
  }
  const { url, prefix } = store;
  const engine = await redis({ connect: () => connect(url), prefix, connectTimeoutMs });
  return saleEngine(engine, engine.rates);
}

function saleEngine(engine: Omit<SaleEngine, "rates">, rates: RateEngine | undefined): SaleEngine {
  const { messages, keyValue, world } = engine;
  const close = () => engine.close();
  return { messages, keyValue, world, rates, close, [Symbol.asyncDispose]: close };
}

/** Removes what a sale left on a server that others use too. */
export async function removeKeys(url: string, prefix: string): Promise<void> {
  const client = connect(url);
  try {
    for await (const keys of client.scanStream({ match: `${prefix}:*`, count: 1_000 })) {
      if ((keys as string[]).length > 0) await client.unlink(keys as string[]);
    }
  } finally {
    client.disconnect();
  }
}

function connect(url: string): Redis {
  return new Redis(url, { autoResendUnfulfilledCommands: false });
}
