import type { KeyValueEngine, KeyValueEntry, SqlEngine, SqlTransaction } from "tenon/contracts";
import type { DurableState, StoredOrderRow } from "./audit.ts";
import { openEngine, type SaleEngine } from "./engine-store.ts";
import { openOrders } from "./orders-database.ts";
import { decodeRequestRecord, recordKeys } from "./records.ts";
import { outstandingMessages } from "./sale.ts";
import type { SaleStores } from "./stores.ts";
import { consumedTopics, saleTopics } from "./topics.ts";

/** Reads everything back from the stores, with connections of its own: nothing of the processes that ran the sale is asked. */
export async function readDurableState(stores: SaleStores): Promise<DurableState> {
  await using engine = await openEngine(stores.engine);
  await using database = await openOrders(stores.orders);
  return await readStateOf(engine, database.sql);
}

export async function readStateOf(
  engine: Pick<SaleEngine, "keyValue" | "messages" | "world">,
  sql: SqlEngine,
): Promise<DurableState> {
  const { keyValue, messages } = engine;
  let deadLetters = 0;
  for (const { topic, group } of consumedTopics(saleTopics(engine)))
    deadLetters += await topic.deadLetters(group).count();
  return {
    stock: await readRecords(keyValue, recordKeys.stock(""), (entry) => Number(textOf(entry))),
    requests: await readRecords(keyValue, recordKeys.request(""), (entry) => decodeRequestRecord(entry.value)),
    buyers: await readRecords(keyValue, recordKeys.buyer(""), textOf),
    returned: await readRecords(keyValue, recordKeys.returned(""), textOf),
    unsent: [...(await readRecords(keyValue, recordKeys.unsent(""), textOf)).keys()],
    outstanding: await outstandingMessages(messages),
    deadLetters,
    ...(await readTables(sql)),
  };
}

type Tables = Pick<DurableState, "orders" | "refunds" | "notifications" | "statistics">;

async function readTables(sql: SqlEngine): Promise<Tables> {
  return await sql.transaction(async (transaction: SqlTransaction) => {
    const rows = async <Row>(sql: string) => (await transaction.query(sql)) as unknown as Row[];
    return {
      // The quotes keep PostgreSQL from making the names small.
      orders: await rows<StoredOrderRow>('SELECT id AS "orderId", buyer, item, state FROM orders'),
      refunds: (await rows<{ orderId: string }>('SELECT order_id AS "orderId" FROM refunds')).map((row) => row.orderId),
      notifications: await rows<Tables["notifications"][number]>(
        'SELECT order_id AS "orderId", type FROM notifications',
      ),
      statistics: await rows<Tables["statistics"][number]>("SELECT type, item, count FROM statistics"),
    };
  });
}

/** The records under a prefix, by what follows it in their keys. */
async function readRecords<T>(
  keyValue: KeyValueEngine,
  prefix: string,
  read: (entry: KeyValueEntry) => T,
): Promise<ReadonlyMap<string, T>> {
  const records = new Map<string, T>();
  const limit = 5_000;
  let after: string | undefined;
  for (;;) {
    const page = await keyValue.scan(prefix, { limit, after });
    for (const entry of page) records.set(entry.key.slice(prefix.length), read(entry));
    if (page.length < limit) return records;
    after = page.at(-1)!.key;
  }
}

function textOf(entry: KeyValueEntry): string {
  return Buffer.from(entry.value).toString();
}
