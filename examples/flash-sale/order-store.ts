import type { SqlEngine, SqlTransaction } from "tenon/contracts";
import type { Order, OrderState } from "./model.ts";
import { insertRows, type SharedTransactions } from "./shared-transactions.ts";

interface Move {
  readonly orderId: string;
  readonly to: "paid" | "cancelled";
  /** The order's state after it. */
  state: OrderState;
}

/** The orders. Every change may be asked for again and then has the same outcome. */
export class OrderStore {
  readonly #sql: SqlEngine;
  readonly #create: (order: Order) => Promise<void>;
  readonly #move: (move: Move) => Promise<void>;

  constructor(sql: SqlEngine, transactions: SharedTransactions) {
    this.#sql = sql;
    this.#create = transactions.operation(createOrders);
    this.#move = transactions.operation(moveOrders);
  }

  async migrate(): Promise<void> {
    await this.#sql.transaction(async (transaction) => {
      await transaction.execute(
        `CREATE TABLE IF NOT EXISTS orders (
           id TEXT PRIMARY KEY, buyer TEXT NOT NULL, item TEXT NOT NULL, state TEXT NOT NULL, reserved_at BIGINT NOT NULL
         )`,
      );
      await transaction.execute("CREATE TABLE IF NOT EXISTS refunds (order_id TEXT PRIMARY KEY)");
    });
  }

  create(order: Order): Promise<void> {
    return this.#create(order);
  }

  /** A payment and the cancellation it races are decided by whose update finds the order unpaid. */
  async pay(orderId: string): Promise<"paid" | "refunded"> {
    const move: Move = { orderId, to: "paid", state: "unpaid" };
    await this.#move(move);
    return move.state === "paid" ? "paid" : "refunded";
  }

  /** Cancels the order unless it is paid; answers its state after that. */
  async cancelUnpaid(orderId: string): Promise<OrderState> {
    const move: Move = { orderId, to: "cancelled", state: "unpaid" };
    await this.#move(move);
    return move.state;
  }
}

async function createOrders(transaction: SqlTransaction, orders: readonly Order[]): Promise<void> {
  await insertRows(
    transaction,
    "INSERT INTO orders (id, buyer, item, state, reserved_at) VALUES",
    "ON CONFLICT (id) DO NOTHING",
    orders.map((order) => [order.orderId, order.buyer, order.item, "unpaid", order.reservedAt]),
  );
}

async function moveOrders(transaction: SqlTransaction, moves: readonly Move[]): Promise<void> {
  for (const move of moves) {
    const { orderId, to } = move;
    const sql = "UPDATE orders SET state = ? WHERE id = ? AND state = 'unpaid'";
    const moved = await transaction.execute(sql, [to, orderId]);
    move.state = moved === 1 ? to : await stateOf(transaction, orderId);
    if (to === "paid" && move.state === "cancelled") {
      await transaction.execute("INSERT INTO refunds (order_id) VALUES (?) ON CONFLICT DO NOTHING", [orderId]);
    }
  }
}

async function stateOf(transaction: SqlTransaction, orderId: string): Promise<OrderState> {
  const [order] = await transaction.query("SELECT state FROM orders WHERE id = ?", [orderId]);
  if (order === undefined) throw new Error(`order ${orderId} does not exist, though its messages do`);
  return order.state as OrderState;
}
