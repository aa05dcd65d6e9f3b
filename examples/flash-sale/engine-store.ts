import type { KeyValueEngine, MessageEngine, RateEngine } from "tenon/contracts";
import { embedded } from "tenon/embedded";
import type { World } from "tenon/world";
import { type ServerEngine, type ServerStore, saleServers } from "./sale-servers.ts";

/** Where messages and key-values are: what a process must be told to open its engine. */
export type EngineStore =
  | { readonly type: "embedded"; readonly directory: string }
  /** `keyValue`: the same server, or one beside it. */
  | { readonly type: "servers"; readonly messages: ServerStore; readonly keyValue: ServerStore };

/** What the sale uses of an engine. */
export interface SaleEngine extends AsyncDisposable {
  readonly messages: MessageEngine;
  readonly keyValue: KeyValueEngine;
  readonly world: World;
  /** Set when other processes may be on the engine too, so that they must share their limits. */
  readonly rates: RateEngine | undefined;
  close(): Promise<void>;
}

export async function openEngine(store: EngineStore): Promise<SaleEngine> {
  if (store.type === "embedded") {
    const engine = await embedded({ directory: store.directory, durability: "sync" });
    return saleEngine(engine, undefined);
  }
  const messaging = await openServer(store.messages);
  if (store.keyValue.type === store.messages.type) return saleEngineOf(messaging, messaging);
  try {
    return saleEngineOf(messaging, await openServer(store.keyValue));
  } catch (error) {
    await messaging.close();
    throw error;
  }
}

async function openServer(store: ServerStore): Promise<ServerEngine> {
  const driver = await saleServers[store.type].load();
  return driver.open(store);
}

function saleEngineOf(messaging: ServerEngine, keeping: ServerEngine): SaleEngine {
  const { keyValue, rates } = keeping;
  if (keyValue === undefined) throw new Error("the server for key-values has none");
  const { messages, world } = messaging;
  const close = async () => {
    await messaging.close();
    if (keeping !== messaging) await keeping.close();
  };
  return saleEngine({ messages, keyValue, world, close }, rates);
}

export function saleEngine(
  engine: Omit<SaleEngine, "rates" | typeof Symbol.asyncDispose>,
  rates: RateEngine | undefined,
): SaleEngine {
  const { messages, keyValue, world } = engine;
  const close = () => engine.close();
  return { messages, keyValue, world, rates, close, [Symbol.asyncDispose]: close };
}
