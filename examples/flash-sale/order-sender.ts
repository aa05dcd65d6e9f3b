import type { Topic } from "tenon/messaging";
import type { Order } from "./model.ts";

/** Publishes the order that follows from a reservation; sending one again stores it once, as its id says. */
export class OrderSender {
  readonly #orders: Topic<Order>;

  constructor(orders: Topic<Order>) {
    this.#orders = orders;
  }

  async send(order: Order): Promise<void> {
    await this.#orders.publish(order, { key: order.orderId, id: order.orderId });
  }
}
