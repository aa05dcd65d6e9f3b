import type { SqlEngine, SqlTransaction } from "tenon/contracts";
import type { Order, OrderState } from "./model.ts";
import { inGroups, insertRows, type SharedTransactions } from "./shared-transactions.ts";

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

/** The first move of each order decides, so these go together; what else wants to move the same orders finds them moved. */
async function moveOrders(transaction: SqlTransaction, moves: readonly Move[]): Promise<void> {
  const first = new Map<string, Move>();
  const rest: Move[] = [];
  for (const move of moves) {
    if (first.has(move.orderId)) rest.push(move);
    else first.set(move.orderId, move);
  }
  for (const [to, same] of Map.groupBy(first.values(), (move) => move.to)) {
    await moveUnpaid(transaction, to, same);
  }
  if (rest.length > 0) await moveOrders(transaction, rest);
}

async function moveUnpaid(transaction: SqlTransaction, to: Move["to"], moves: readonly Move[]): Promise<void> {
  const states = new Map<string, OrderState>();
  for (const ids of inGroups(moves.map((move) => move.orderId))) {
    const places = ids.map(() => "?").join(", ");
    const update = `UPDATE orders SET state = ? WHERE id IN (${places}) AND state = 'unpaid'`;
    await transaction.execute(update, [to, ...ids]);
    const rows = await transaction.query(`SELECT id, state FROM orders WHERE id IN (${places})`, ids);
    for (const row of rows) states.set(row.id as string, row.state as OrderState);
  }
  for (const move of moves) {
    const state = states.get(move.orderId);
    if (state === undefined) throw new Error(`order ${move.orderId} does not exist, though its messages do`);
    move.state = state;
  }
  if (to === "cancelled") return;
  const late = moves.filter((move) => move.state === "cancelled").map((move) => [move.orderId]);
  await insertRows(transaction, "INSERT INTO refunds (order_id) VALUES", "ON CONFLICT DO NOTHING", late);
}
