import type { Consumer } from "tenon/messaging";
import { type OrderEvent, type OrderEventType, type OrderReference, payWindowMs } from "./model.ts";
import type { OrderStore } from "./order-store.ts";
import type { StockService } from "./stock.ts";
import { groups, type SaleTopics, sessionMs } from "./topics.ts";

const consumeOptions = { concurrency: 1_024, sessionMs } as const;

/**
 * Creates orders, takes payments, and cancels what is not paid in time. Each step is idempotent and publishes what follows
 * from it under ids of their own, so that a redelivery after a crash completes a step that was begun and repeats none.
 */
export async function consumeOrders(
  topics: SaleTopics,
  store: OrderStore,
  stock: StockService,
): Promise<readonly Consumer[]> {
  const tell = async (type: OrderEventType, { orderId, buyer, item }: OrderReference) => {
    const event: OrderEvent = { type, orderId, buyer, item };
    await topics.orderEvents.publish(event, { key: orderId, id: `${orderId}:${type}` });
  };
  return Promise.all([
    topics.orders.consume(
      groups.orders,
      async (order) => {
        await store.create(order);
        const { orderId, buyer, item, reservedAt } = order;
        const check = { key: orderId, id: orderId, dueAt: reservedAt + payWindowMs };
        await Promise.all([topics.unpaidChecks.publish({ orderId, buyer, item }, check), tell("created", order)]);
      },
      consumeOptions,
    ),
    topics.payments.consume(
      groups.orders,
      async (order) => {
        await tell(await store.pay(order.orderId), order);
      },
      consumeOptions,
    ),
    topics.unpaidChecks.consume(
      groups.orders,
      async (order) => {
        if ((await store.cancelUnpaid(order.orderId)) !== "cancelled") return;
        await stock.giveBack(order.orderId, order.item);
        await tell("cancelled", order);
      },
      consumeOptions,
    ),
  ]);
}
