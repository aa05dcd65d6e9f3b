import type { KeyValueEngine, MessageEngine, RateEngine } from "tenon/contracts";
import { embedded } from "tenon/embedded";
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

export async function openEngine(store: EngineStore): Promise<SaleEngine> {
  if (store.type === "embedded") {
    const engine = await embedded({ directory: store.directory, durability: "sync" });
    return saleEngine(engine, undefined);
  }
  // Loading clients takes time, and only here are they needed.
  const { openRedis } = await import("./redis-store.ts");
  const engine = await openRedis(store);
  return saleEngine(engine, engine.rates);
}

export function saleEngine(engine: Omit<SaleEngine, "rates">, rates: RateEngine | undefined): SaleEngine {
  const { messages, keyValue, world } = engine;
  const close = () => engine.close();
  return { messages, keyValue, world, rates, close, [Symbol.asyncDispose]: close };
}
