import { DatabaseSync } from "node:sqlite";
import type { KeyValueEngine, KeyValueEntry } from "tenon/contracts";
import { embedded } from "tenon/embedded";
import type { DurableState, StoredOrderRow } from "./audit.ts";
import { decodeRequestRecord, recordKeys } from "./records.ts";
import { outstandingMessages, salePaths } from "./sale.ts";
import { consumedTopics, saleTopics } from "./topics.ts";

/** Reads everything back from the disk, with an engine of its own: nothing of the process that ran the sale is asked. */
export async function readDurableState(directory: string): Promise<DurableState> {
  const paths = salePaths(directory);
  await using engine = await embedded({ directory: paths.engine });
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
    ...readTables(paths.orders),
  };
}

function readTables(file: string): Pick<DurableState, "orders" | "refunds" | "notifications" | "statistics"> {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const rows = (sql: string) => database.prepare(sql).all() as unknown[];
    return {
      orders: rows("SELECT id AS orderId, buyer, item, state FROM orders") as StoredOrderRow[],
      refunds: (rows("SELECT order_id AS orderId FROM refunds") as { orderId: string }[]).map((row) => row.orderId),
      notifications: rows("SELECT order_id AS orderId, type FROM notifications") as DurableState["notifications"],
      statistics: rows("SELECT type, item, count FROM statistics") as DurableState["statistics"],
    };
  } finally {
    database.close();
  }
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
