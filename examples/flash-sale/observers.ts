import type { SqlEngine, SqlTransaction } from "tenon/contracts";
import type { Consumer } from "tenon/messaging";
import { type Inbox, inbox } from "tenon/transactions";
import type { OrderEvent } from "./model.ts";
import type { OrderStore } from "./order-store.ts";
import { groups, type SaleTopics } from "./topics.ts";

const consumeOptions = { concurrency: 1_024 } as const;

/**
 * Notification and statistics: two groups that each hear of everything that happens to orders, and neither knows of the other.
 * Counting is not idempotent by itself, so both note the event in an inbox, in the transaction of the effect.
 */
export async function consumeForObservers(
  topics: SaleTopics,
  sql: SqlEngine,
  store: OrderStore,
): Promise<readonly Consumer[]> {
  const observe = async (
    group: string,
    effect: (transaction: SqlTransaction, event: OrderEvent) => Promise<unknown>,
  ): Promise<Consumer> => {
    const seen: Inbox = inbox(sql, { consumer: group });
    await seen.migrate();
    return topics.orderEvents.consume(
      group,
      (event) =>
        store.transaction(async (transaction) => {
          if (await seen.once(transaction, `${event.orderId}:${event.type}`)) await effect(transaction, event);
        }),
      consumeOptions,
    );
  };
  return [
    await observe(groups.notification, (transaction, { orderId, type }) =>
      transaction.execute("INSERT INTO notifications (order_id, type) VALUES (?, ?)", [orderId, type]),
    ),
    await observe(groups.statistics, (transaction, { type, item }) =>
      transaction.execute(
        "INSERT INTO statistics (type, item, count) VALUES (?, ?, 1) ON CONFLICT (type, item) DO UPDATE SET count = count + 1",
        [type, item],
      ),
    ),
  ];
}
