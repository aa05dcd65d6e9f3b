import type { SqlEngine, SqlTransaction } from "tenon/contracts";
import type { Consumer } from "tenon/messaging";
import { type Inbox, inbox } from "tenon/transactions";
import type { OrderEvent } from "./model.ts";
import { insertRows, type SharedTransactions } from "./shared-transactions.ts";
import { groups, type SaleTopics, sessionMs } from "./topics.ts";

const consumeOptions = { concurrency: 1_024, sessionMs } as const;

/** Two groups that each hear of everything that happens to orders, and neither knows of the other. */
export async function consumeForObservers(
  topics: SaleTopics,
  sql: SqlEngine,
  transactions: SharedTransactions,
): Promise<readonly Consumer[]> {
  const counted = inbox(sql, { consumer: groups.statistics });
  await counted.migrate();
  await sql.transaction(async (transaction) => {
    for (const statement of schema) await transaction.execute(statement);
  });
  const count = transactions.operation<OrderEvent>((transaction, events) => countEvents(transaction, events, counted));
  const notify = transactions.operation<OrderEvent>(notifyOf);
  return [
    await topics.orderEvents.consume(groups.notification, notify, consumeOptions),
    await topics.orderEvents.consume(groups.statistics, count, consumeOptions),
  ];
}

const schema = [
  "CREATE TABLE IF NOT EXISTS notifications (order_id TEXT NOT NULL, type TEXT NOT NULL, PRIMARY KEY (order_id, type))",
  "CREATE TABLE IF NOT EXISTS statistics (type TEXT NOT NULL, item TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (type, item))",
];

/** A notification is idempotent by its key: what was told is not told again. */
async function notifyOf(transaction: SqlTransaction, events: readonly OrderEvent[]): Promise<void> {
  await insertRows(
    transaction,
    "INSERT INTO notifications (order_id, type) VALUES",
    "ON CONFLICT DO NOTHING",
    events.map((event) => [event.orderId, event.type]),
  );
}

/** Counting is not idempotent by itself, so each event is noted in an inbox, in the transaction in which it is counted. */
async function countEvents(transaction: SqlTransaction, events: readonly OrderEvent[], counted: Inbox): Promise<void> {
  const fresh: OrderEvent[] = [];
  for (const event of events) {
    if (await counted.once(transaction, `${event.orderId}:${event.type}`)) fresh.push(event);
  }
  for (const same of Map.groupBy(fresh, ({ type, item }) => `${type} ${item}`).values()) {
    const { type, item } = same[0]!;
    await transaction.execute(
      "INSERT INTO statistics (type, item, count) VALUES (?, ?, ?) ON CONFLICT (type, item) DO UPDATE SET count = statistics.count + excluded.count",
      [type, item, same.length],
    );
  }
}
