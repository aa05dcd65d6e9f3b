import type { KeyValueEngine } from "tenon/contracts";
import type { Order, PurchaseRequest, Verdict } from "./model.ts";
import type { OrderSender } from "./order-sender.ts";
import { recordKeys } from "./records.ts";
import type { StockService } from "./stock.ts";

/**
 * Decides while the buyer's call waits. No message would be redelivered when the process dies between the reservation and
 * the order, so the reservation's commit also holds a note of the unsent order, which is taken up when a gateway starts.
 */
export class DirectSale {
  readonly #keyValue: KeyValueEngine;
  readonly #stock: StockService;
  readonly #orders: OrderSender;

  constructor(keyValue: KeyValueEngine, stock: StockService, orders: OrderSender) {
    this.#keyValue = keyValue;
    this.#stock = stock;
    this.#orders = orders;
  }

  async decide(request: PurchaseRequest): Promise<Verdict> {
    const { verdict, order } = await this.#stock.decide(request);
    if (order !== undefined) await this.#send(order);
    return verdict;
  }

  /**
   * Sends what a former process reserved and did not get to send. Notes of other gateways that are at work now may be among them; sending an
   * order twice stores it once.
   */
  async recover(): Promise<void> {
    const limit = 1_000;
    for (let after: string | undefined; ; ) {
      const unsent = await this.#keyValue.scan(recordKeys.unsent(""), { limit, after });
      await Promise.all(unsent.map((entry) => this.#send(JSON.parse(Buffer.from(entry.value).toString()) as Order)));
      if (unsent.length < limit) return;
      after = unsent.at(-1)!.key;
    }
  }

  async #send(order: Order): Promise<void> {
    await this.#orders.send(order);
    await this.#keyValue.commit([{ type: "delete", key: recordKeys.unsent(order.orderId) }]);
  }
}
