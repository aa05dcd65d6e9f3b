import assert from "node:assert/strict";
import { test } from "node:test";
import { memory } from "tenon/embedded";
import { DirectSale } from "./direct-sale.ts";
import type { Order, PurchaseRequest } from "./model.ts";
import { OrderSender } from "./order-sender.ts";
import { recordKeys } from "./records.ts";
import { StockService } from "./stock.ts";
import { groups, saleTopics } from "./topics.ts";

async function openSale() {
  const engine = await memory();
  const topics = saleTopics(engine);
  const stock = new StockService(engine.keyValue, engine.world, { seed: 1, noteUnsentOrders: true });
  await stock.fill(60);
  return {
    engine,
    topics,
    stock,
    notes: () => engine.keyValue.scan(recordKeys.unsent("")),
    sent: async () => (await topics.orders.lag(groups.orders)).messages,
    [Symbol.asyncDispose]: () => engine.close(),
  };
}

const request: PurchaseRequest = { requestId: "r1", buyer: "buyer-1", item: "item-00", quantity: 1 };

test("an accepted purchase has its order sent and leaves no note", async () => {
  await using sale = await openSale();
  const direct = new DirectSale(sale.engine.keyValue, sale.stock, new OrderSender(sale.topics.orders));
  assert.equal(await direct.decide(request), "accepted");
  assert.equal(await sale.sent(), 1);
  assert.deepEqual(await sale.notes(), []);
});

test("the next gateway sends what one reserved and did not get to send, also beside the one that did", async () => {
  await using sale = await openSale();
  await sale.stock.decide(request);
  await sale.stock.decide({ ...request, requestId: "r2", buyer: "buyer-2" });
  const next = () => new DirectSale(sale.engine.keyValue, sale.stock, new OrderSender(sale.topics.orders));
  await Promise.all([next().recover(), next().recover()]);
  assert.equal(await sale.sent(), 2);
  assert.deepEqual(await sale.notes(), []);
});

test("taking up notes ends, though other gateways go on writing them", async () => {
  await using sale = await openSale();
  const { keyValue } = sale.engine;
  class Busy extends OrderSender {
    override async send(order: Order): Promise<void> {
      await super.send(order);
      const value = Buffer.from(JSON.stringify({ ...order, orderId: `${order.orderId}+` }));
      await keyValue.commit([{ type: "put", key: recordKeys.unsent(`${order.orderId}+`), value }]);
    }
  }
  await sale.stock.decide(request);
  await new DirectSale(keyValue, sale.stock, new Busy(sale.topics.orders)).recover();
  assert.deepEqual(
    (await sale.notes()).map((entry) => entry.key),
    [recordKeys.unsent("r1+")],
  );
});
