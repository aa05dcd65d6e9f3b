import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { MessageEngine } from "tenon/contracts";
import { type EmbeddedEngine, embedded } from "tenon/embedded";
import { type Snowflake, snowflake } from "tenon/ids";
import type { Consumer } from "tenon/messaging";
import { sqlite } from "tenon/sqlite";
import { localLimiter } from "tenon/traffic";
import { DirectSale } from "./direct-sale.ts";
import { DirectGateway, type Gateway, QueueingGateway } from "./gateway.ts";
import { type HttpServer, serveHttp } from "./http-server.ts";
import { type Flow, gatewayIds, type SaleOptions } from "./model.ts";
import { consumeForObservers } from "./observers.ts";
import { OrderSender } from "./order-sender.ts";
import { consumeOrders } from "./order-service.ts";
import { OrderStore } from "./order-store.ts";
import { consumeForPayment } from "./payments.ts";
import { SharedTransactions } from "./shared-transactions.ts";
import { StockService } from "./stock.ts";
import { AnswerSender, consumeRequests } from "./stock-consumer.ts";
import { closeAll, declareAll, saleTopics } from "./topics.ts";

/** Where a sale keeps what it must not forget. */
export function salePaths(directory: string): { readonly engine: string; readonly orders: string } {
  return { engine: join(directory, "engine"), orders: join(directory, "orders.db") };
}

export interface Sale {
  /** Of each gateway's HTTP server. */
  readonly ports: readonly number[];
  /** Messages that some group has still to settle, and delayed ones. */
  outstanding(): Promise<number>;
  close(): Promise<void>;
}

export interface SaleStart {
  readonly directory: string;
  readonly options: SaleOptions;
  /** The ports of a former start, to be found under again; free ones when left out. */
  readonly ports?: readonly number[] | undefined;
}

/**
 * Together, the gateways admit so many requests in a second. In the queue the topic takes the crowd, so the bucket only
 * guards against a flood; before a direct call it is what keeps the stock service at a load that it is known to carry.
 */
const admission: Readonly<Record<Flow, { readonly ratePerSecond: number; readonly burst: number }>> = {
  queue: { ratePerSecond: 100_000, burst: 20_000 },
  bucket: { ratePerSecond: 4_000, burst: 2_000 },
};

/** The whole sale in this process: gateways, stock, orders, payment, notification, statistics, on one engine. */
export async function startSale({ directory, options, ports }: SaleStart): Promise<Sale> {
  const paths = salePaths(directory);
  mkdirSync(paths.engine, { recursive: true });
  const engine = await embedded({ directory: paths.engine, durability: "sync" });
  const database = openOrders(paths.orders);
  const sql = sqlite(database);
  const transactions = new SharedTransactions(sql, engine.world);
  const store = new OrderStore(sql, transactions);
  await store.migrate();

  const topics = saleTopics(engine);
  await declareAll(topics);
  const stock = new StockService(engine.keyValue, engine.world, {
    seed: options.seed,
    noteUnsentOrders: options.flow === "bucket",
  });
  await stock.fill(options.stock);

  const consumers: Consumer[] = [
    ...(await consumeForObservers(topics, sql, transactions)),
    await consumeForPayment(topics, options.seed),
    ...(await consumeOrders(topics, store, stock)),
  ];
  const orders = new OrderSender(topics.orders);
  let direct: DirectSale | undefined;
  if (options.flow === "bucket") {
    direct = new DirectSale(engine.keyValue, stock, orders);
    await direct.recover();
  } else {
    consumers.push(await consumeRequests(topics.requests, stock, orders, new AnswerSender(topics.answers)));
  }

  const gateways: Gateway[] = [];
  const servers: HttpServer[] = [];
  for (const [index, id] of gatewayIds.entries()) {
    const { ratePerSecond, burst } = admission[options.flow];
    const share = { ratePerSecond: ratePerSecond / gatewayIds.length, burst: burst / gatewayIds.length };
    const bucket = localLimiter({ type: "tokenBucket", ...share }, { world: engine.world });
    const gateway =
      direct === undefined
        ? await QueueingGateway.open(id, engine.world, bucket, topics.requests, topics.answers.get(id)!)
        : new DirectGateway(bucket, (request) => direct.decide(request));
    const ids: Snowflake = snowflake({ worker: index, world: engine.world });
    gateways.push(gateway);
    servers.push(await serveHttp(gateway, ids, ports?.[index] ?? 0));
  }

  return {
    ports: servers.map((server) => server.port),
    outstanding: () => outstandingMessages(engine.messages),
    close: () => closeSale(servers, gateways, consumers, () => closeAll(topics), engine, database),
  };
}

/** From the door inwards: no new buyers, no new deliveries, everything that was accepted written, then the stores. */
async function closeSale(
  servers: readonly HttpServer[],
  gateways: readonly Gateway[],
  consumers: readonly Consumer[],
  closeTopics: () => Promise<void>,
  engine: EmbeddedEngine,
  database: DatabaseSync,
): Promise<void> {
  await Promise.all(servers.map((server) => server.close()));
  await Promise.all(gateways.map((gateway) => gateway.close()));
  await Promise.all(consumers.map((consumer) => consumer.close()));
  await closeTopics();
  await engine.close();
  database.close();
}

function openOrders(file: string): DatabaseSync {
  const database = new DatabaseSync(file);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  return database;
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
