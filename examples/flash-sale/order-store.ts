import type { SqlEngine, SqlTransaction } from "tenon/contracts";
import type { World } from "tenon/world";
import { Batching } from "./batching.ts";
import type { Order, OrderState } from "./model.ts";

/** How long orders and payments are gathered into one transaction: each one costs a synchronous write to the disk. */
const gatherMs = 40;

const schema = [
  `CREATE TABLE IF NOT EXISTS orders (
     id TEXT PRIMARY KEY, buyer TEXT NOT NULL, item TEXT NOT NULL, state TEXT NOT NULL, reserved_at INTEGER NOT NULL
   ) WITHOUT ROWID`,
  "CREATE TABLE IF NOT EXISTS refunds (order_id TEXT PRIMARY KEY) WITHOUT ROWID",
  "CREATE TABLE IF NOT EXISTS notifications (order_id TEXT NOT NULL, type TEXT NOT NULL)",
  "CREATE TABLE IF NOT EXISTS statistics (type TEXT NOT NULL, item TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (type, item))",
];

interface Work {
  readonly run: (transaction: SqlTransaction) => Promise<void>;
  failure: unknown;
}

/** The tables of the sale. Every change may be asked for again and then has the same outcome. */
export class OrderStore {
  readonly #sql: SqlEngine;
  readonly #batching: Batching<Work>;

  constructor(sql: SqlEngine, world: World) {
    this.#sql = sql;
    this.#batching = new Batching(
      (works) => this.#runAll(works),
      () => world.timers.sleep(gatherMs),
    );
  }

  async migrate(): Promise<void> {
    await this.#sql.transaction(async (transaction) => {
      for (const statement of schema) await transaction.execute(statement);
    });
  }

  /** Runs `work` in a transaction that it shares with others; resolves when that is committed. */
  async transaction<T>(work: (transaction: SqlTransaction) => Promise<T>): Promise<T> {
    let result: T | undefined;
    const item: Work = {
      run: async (transaction) => {
        result = await work(transaction);
      },
      failure: undefined,
    };
    await this.#batching.add(item);
    if (item.failure !== undefined) throw item.failure;
    return result as T;
  }

  create(order: Order): Promise<void> {
    return this.transaction(async (transaction) => {
      await transaction.execute(
        "INSERT INTO orders (id, buyer, item, state, reserved_at) VALUES (?, ?, ?, 'unpaid', ?) ON CONFLICT (id) DO NOTHING",
        [order.orderId, order.buyer, order.item, order.reservedAt],
      );
    });
  }

  /** A payment and the cancellation it races are decided by whose update finds the order unpaid. */
  pay(orderId: string): Promise<StoredOrder & { readonly outcome: "paid" | "refunded" }> {
    return this.transaction(async (transaction) => {
      const order = await moveFromUnpaid(transaction, orderId, "paid");
      if (order.state === "paid") return { ...order, outcome: "paid" };
      await transaction.execute("INSERT INTO refunds (order_id) VALUES (?) ON CONFLICT DO NOTHING", [orderId]);
      return { ...order, outcome: "refunded" };
    });
  }

  /** Cancels the order unless it is paid; answers the order as it is then. */
  cancelUnpaid(orderId: string): Promise<StoredOrder> {
    return this.transaction((transaction) => moveFromUnpaid(transaction, orderId, "cancelled"));
  }

  async #runAll(works: readonly Work[]): Promise<void> {
    try {
      await this.#sql.transaction(async (transaction) => {
        for (const work of works) await work.run(transaction);
      });
    } catch (error) {
      // One bad work must not hold back those that happened to share its transaction.
      if (works.length === 1) works[0]!.failure = error;
      else for (const work of works) await this.#runAll([work]);
    }
  }
}

export interface StoredOrder {
  readonly buyer: string;
  readonly item: string;
  readonly state: OrderState;
}

async function moveFromUnpaid(transaction: SqlTransaction, orderId: string, to: OrderState): Promise<StoredOrder> {
  await transaction.execute("UPDATE orders SET state = ? WHERE id = ? AND state = 'unpaid'", [to, orderId]);
  const [order] = await transaction.query("SELECT buyer, item, state FROM orders WHERE id = ?", [orderId]);
  if (order === undefined) throw new Error(`order ${orderId} does not exist, though its messages do`);
  return { buyer: String(order.buyer), item: String(order.item), state: order.state as OrderState };
}
