import type { MessageEngine } from "tenon/contracts";
import type { Role } from "./deployment.ts";
import { openEngine, type SaleEngine } from "./engine-store.ts";
import { type ServeHttp, serveHttp } from "./http-server.ts";
import type { SaleOptions } from "./model.ts";
import { type OpenOrders, openOrders } from "./orders-database.ts";
import { type Service, startRole } from "./roles.ts";
import { StockService } from "./stock.ts";
import type { SaleStores } from "./stores.ts";
import { closeAll, declareAll, saleTopics } from "./topics.ts";

/** What runs of the sale in one process: all of it, or some services. */
export interface Sale {
  /** Of each gateway's HTTP server. */
  readonly ports: readonly number[];
  /** Messages that some group has still to settle, and delayed ones; whichever process they are for. */
  outstanding(): Promise<number>;
  close(): Promise<void>;
}

export interface SaleStart {
  readonly stores: SaleStores;
  readonly options: SaleOptions;
  readonly roles: readonly Role[];
  /** The ports of a former start, to be found under again; free ones when left out. */
  readonly ports?: readonly number[] | undefined;
}

/** The sale's way to the outside: its engine, its database, its door. */
export interface Surroundings {
  readonly openEngine: () => Promise<SaleEngine>;
  readonly openOrders: () => Promise<OpenOrders>;
  readonly serveHttp: ServeHttp;
}

export function startSale({ stores, ...plan }: SaleStart): Promise<Sale> {
  return startSaleIn(
    { openEngine: () => openEngine(stores.engine), openOrders: () => openOrders(stores.orders), serveHttp },
    plan,
  );
}

/** Every process does the same, whatever its services; what the sale needs is made by whoever comes first. */
export async function startSaleIn(
  surroundings: Surroundings,
  { options, roles, ports }: Omit<SaleStart, "stores">,
): Promise<Sale> {
  const engine = await surroundings.openEngine();
  const topics = saleTopics(engine);
  await declareAll(topics);
  const stock = new StockService(engine.keyValue, engine.world, {
    seed: options.seed,
    noteUnsentOrders: options.flow === "bucket",
  });
  await stock.fill(options.stock);

  const { openOrders, serveHttp } = surroundings;
  const place = { engine, topics, stock, openOrders, serveHttp, options };
  const services: Service[] = [];
  const opened: number[] = [];
  for (const role of roles) {
    const service = await startRole(role, place, ports?.[opened.length] ?? 0);
    services.push(service);
    if (service.port !== undefined) opened.push(service.port);
  }
  return {
    ports: opened,
    outstanding: () => outstandingMessages(engine.messages),
    // From the door inwards: no new buyers, no new deliveries, everything that was accepted written, then the engine.
    async close() {
      for (const service of services.toReversed()) await service.close();
      await closeAll(topics);
      await engine.close();
    },
  };
}

/** Of all topics, in the order in which work flows; dead letters wait for a person and are counted apart. */
export async function outstandingMessages(messages: MessageEngine): Promise<number> {
  let count = 0;
  for (const name of await messages.topics()) {
    if (name.endsWith("..dead")) continue;
    const { groups, delayedCount } = await messages.describe(name);
    count += delayedCount;
    for (const { lanes } of groups) for (const lane of lanes) count += lane.lag;
  }
  return count;
}
