import { snowflake } from "tenon/ids";
import type { Consumer } from "tenon/messaging";
import { limiter, localLimiter } from "tenon/traffic";
import type { Role } from "./deployment.ts";
import { DirectSale } from "./direct-sale.ts";
import type { SaleEngine } from "./engine-store.ts";
import { DirectGateway, type Gateway, QueueingGateway } from "./gateway.ts";
import type { ServeHttp } from "./http-server.ts";
import { type Flow, gatewayIds, type SaleOptions } from "./model.ts";
import { consumeForObservers } from "./observers.ts";
import { OrderSender } from "./order-sender.ts";
import { consumeOrders } from "./order-service.ts";
import { OrderStore } from "./order-store.ts";
import type { OpenOrders } from "./orders-database.ts";
import { consumeForPayment } from "./payments.ts";
import { purchaseHandler } from "./purchase-handler.ts";
import { SharedTransactions } from "./shared-transactions.ts";
import type { StockService } from "./stock.ts";
import { AnswerSender, consumeRequests } from "./stock-consumer.ts";
import type { SaleTopics } from "./topics.ts";

/** What every service of one process works with. */
export interface Workplace {
  readonly engine: SaleEngine;
  readonly topics: SaleTopics;
  readonly stock: StockService;
  readonly openOrders: () => Promise<OpenOrders>;
  readonly serveHttp: ServeHttp;
  readonly options: SaleOptions;
}

export interface Service {
  /** Of the HTTP server, where it has one. */
  readonly port?: number | undefined;
  /** Takes nothing more, and writes everything that was accepted. */
  close(): Promise<void>;
}

/** `port` is one to be found under again, 0 for any. */
export function startRole(role: Role, place: Workplace, port: number): Promise<Service> {
  switch (role.type) {
    case "gateway":
      return startGateway(role.id, place, port);
    case "stock":
      return consumeRequests(
        place.topics.requests,
        place.stock,
        new OrderSender(place.topics.orders),
        new AnswerSender(place.topics.answers),
      );
    case "orders":
      return startOrders(place);
  }
}

/**
 * Together, the gateways admit so many requests in a second. In the queue the topic takes the crowd, so the bucket only
 * guards against a flood; before a direct call it is what keeps the stock service at a load that it is known to carry.
 */
const admission: Readonly<Record<Flow, { readonly ratePerSecond: number; readonly burst: number }>> = {
  queue: { ratePerSecond: 100_000, burst: 20_000 },
  bucket: { ratePerSecond: 4_000, burst: 2_000 },
};

async function startGateway(id: string, place: Workplace, port: number): Promise<Service> {
  const { engine, topics, serveHttp, options } = place;
  let gateway: Gateway;
  if (options.flow === "bucket") {
    const direct = new DirectSale(engine.keyValue, place.stock, new OrderSender(topics.orders));
    await direct.recover();
    gateway = new DirectGateway(directAdmission(engine), (request) => direct.decide(request));
  } else {
    const bucket = localLimiter(gatewayShare("queue"), { world: engine.world });
    gateway = await QueueingGateway.open(id, engine.world, bucket, topics.requests, topics.answers.get(id)!);
  }
  const ids = snowflake({ worker: gatewayIds.indexOf(id), world: engine.world });
  const server = await serveHttp(purchaseHandler(gateway, ids), port);
  return {
    port: server.port,
    async close() {
      await server.close();
      await gateway.close();
    },
  };
}

/** One bucket for all gateways where they may be several processes; else each has its share, which costs no round trip. */
function directAdmission({ rates, world }: SaleEngine): () => Promise<boolean> {
  if (rates !== undefined) {
    const bucket = limiter({ rates, world }, "purchases", { type: "tokenBucket", ...admission.bucket });
    return async () => (await bucket.tryTake()).allowed;
  }
  const bucket = localLimiter(gatewayShare("bucket"), { world });
  return async () => bucket.tryTake().allowed;
}

function gatewayShare(flow: Flow) {
  const { ratePerSecond, burst } = admission[flow];
  const count = gatewayIds.length;
  return { type: "tokenBucket", ratePerSecond: ratePerSecond / count, burst: burst / count } as const;
}

async function startOrders({ engine, topics, stock, openOrders, options }: Workplace): Promise<Service> {
  const database = await openOrders();
  const { sql } = database;
  const transactions = new SharedTransactions(sql, engine.world);
  const store = new OrderStore(sql, transactions);
  await store.migrate();
  // SQLite has one writer, for whom one transaction is cheaper than two. Elsewhere orders need not wait for those who only watch.
  const observing = sql.dialect === "sqlite" ? transactions : new SharedTransactions(sql, engine.world);
  const consumers: Consumer[] = [
    ...(await consumeForObservers(topics, sql, observing)),
    await consumeForPayment(topics, options.seed),
    ...(await consumeOrders(topics, store, stock)),
  ];
  return {
    async close() {
      await Promise.all(consumers.map((consumer) => consumer.close()));
      await database.close();
    },
  };
}
