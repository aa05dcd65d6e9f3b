import { type OrderEventType, type OrderState, stockByItem } from "./model.ts";
import type { RequestRecord } from "./records.ts";

/** What is found in the stores after the sale's process has ended. */
export interface DurableState {
  /** What is left of each item. */
  readonly stock: ReadonlyMap<string, number>;
  readonly requests: ReadonlyMap<string, RequestRecord>;
  /** The request with which each buyer got a reservation. */
  readonly buyers: ReadonlyMap<string, string>;
  /** The item that each cancelled order gave back. */
  readonly returned: ReadonlyMap<string, string>;
  readonly unsent: readonly string[];
  readonly orders: readonly StoredOrderRow[];
  readonly refunds: readonly string[];
  readonly notifications: readonly { readonly orderId: string; readonly type: OrderEventType }[];
  readonly statistics: readonly { readonly type: OrderEventType; readonly item: string; readonly count: number }[];
  readonly outstanding: number;
  readonly deadLetters: number;
}

export interface StoredOrderRow {
  readonly orderId: string;
  readonly buyer: string;
  readonly item: string;
  readonly state: OrderState;
}

/** What the buyers know. */
export interface BuyersView {
  readonly stock: number;
  /** Requests that were told "accepted". */
  readonly accepted: ReadonlySet<string>;
  /** Requests whose buyers gave up without an answer that means something: they may have an order or not. */
  readonly unanswered: ReadonlySet<string>;
}

export interface Check {
  readonly name: string;
  readonly holds: boolean;
  readonly detail: string;
}

export interface Audit {
  readonly holds: boolean;
  readonly checks: readonly Check[];
  /** Orders that are not cancelled. */
  readonly sold: number;
  readonly orders: number;
  readonly cancelled: number;
  readonly refunded: number;
  /** Units sold beyond the stock. */
  readonly oversold: number;
  /** Things that should be there and are not. */
  readonly lost: number;
  /** Things that are there more often than they should. */
  readonly duplicated: number;
}

/** Compares what the buyers were told with what the stores hold, and the stores with each other. */
export function audit(state: DurableState, buyers: BuyersView): Audit {
  const checks = [
    checkAnswered(buyers),
    checkSold(state, buyers),
    checkShelf(state, buyers),
    checkAccepted(state, buyers),
    checkReservations(state),
    checkOnePerBuyer(state),
    checkCancelled(state),
    checkRefunds(state),
    checkNotifications(state),
    checkStatistics(state),
    checkSettled(state),
  ];
  const sum = (figure: (check: Finding) => number) => checks.reduce((total, check) => total + figure(check), 0);
  return {
    holds: checks.every((check) => check.holds),
    checks,
    sold: state.orders.filter((order) => order.state !== "cancelled").length,
    orders: state.orders.length,
    cancelled: state.orders.filter((order) => order.state === "cancelled").length,
    refunded: state.refunds.length,
    oversold: sum((check) => check.oversold),
    lost: sum((check) => check.lost),
    duplicated: sum((check) => check.duplicated),
  };
}

interface Finding extends Check {
  readonly oversold: number;
  readonly lost: number;
  readonly duplicated: number;
}

/** A check holds when it found nothing oversold, lost, duplicated or wrong in another way. */
function finding(
  name: string,
  detail: string,
  found: { oversold?: number; lost?: number; duplicated?: number; wrong?: number },
): Finding {
  const { oversold = 0, lost = 0, duplicated = 0, wrong = 0 } = found;
  const faults = Object.entries({ oversold, lost, duplicated, wrong }).filter(([, count]) => count > 0);
  const faultText = faults.map(([fault, count]) => `${count} ${fault}`).join(", ");
  return {
    name,
    holds: faults.length === 0,
    detail: faults.length === 0 ? detail : `${detail}: ${faultText}`,
    oversold,
    lost,
    duplicated,
  };
}

function checkAnswered({ unanswered }: BuyersView): Finding {
  return finding("every request was answered", `${unanswered.size} without an answer`, { lost: unanswered.size });
}

function checkSold(state: DurableState, { stock }: BuyersView): Finding {
  const soldByItem = countBy(
    state.orders.filter((order) => order.state !== "cancelled"),
    (order) => order.item,
  );
  const stocked = stockByItem(stock);
  let oversold = 0;
  let sold = 0;
  for (const [item, count] of soldByItem) {
    sold += count;
    oversold += Math.max(0, count - (stocked.get(item) ?? 0));
  }
  return finding("sold ≤ stock, for every item", `${sold} of ${stock}`, { oversold });
}

/** What is left must be the stock without the reservations and with what came back. */
function checkShelf(state: DurableState, { stock }: BuyersView): Finding {
  const reserved = countBy(
    [...state.requests.values()].filter((record) => record.verdict === "accepted"),
    (record) => record.item,
  );
  const returned = countBy([...state.returned.values()], (item) => item);
  let lost = 0;
  let duplicated = 0;
  let left = 0;
  for (const [item, stocked] of stockByItem(stock)) {
    const expected = stocked - (reserved.get(item) ?? 0) + (returned.get(item) ?? 0);
    const found = state.stock.get(item) ?? 0;
    left += found;
    lost += Math.max(0, expected - found);
    duplicated += Math.max(0, found - expected);
  }
  const negative = [...state.stock.values()].filter((count) => count < 0).length;
  return finding("the shelf agrees with reservations and returns", `${left} left`, {
    lost,
    duplicated,
    wrong: negative,
  });
}

function checkAccepted(state: DurableState, { accepted, unanswered }: BuyersView): Finding {
  const orderIds = new Set(state.orders.map((order) => order.orderId));
  const lost = countWhere(accepted, (id) => !orderIds.has(id));
  const untold = countWhere(orderIds, (id) => !accepted.has(id) && !unanswered.has(id));
  return finding("orders = accepted requests", `${state.orders.length} orders, ${accepted.size} accepted`, {
    lost,
    wrong: untold,
    duplicated: state.orders.length - orderIds.size,
  });
}

function checkReservations(state: DurableState): Finding {
  const orders = new Map(state.orders.map((order) => [order.orderId, order]));
  let reserved = 0;
  let lost = state.unsent.length;
  let wrong = 0;
  for (const [requestId, record] of state.requests) {
    const order = orders.get(requestId);
    if (record.verdict !== "accepted") {
      if (order !== undefined) wrong += 1;
      continue;
    }
    reserved += 1;
    if (order === undefined) lost += 1;
    else if (order.buyer !== record.buyer || order.item !== record.item) wrong += 1;
  }
  lost += countWhere(orders.keys(), (id) => !state.requests.has(id));
  return finding("every reservation has its order, every order its reservation", `${reserved} reservations`, {
    lost,
    wrong,
  });
}

function checkOnePerBuyer(state: DurableState): Finding {
  const ordersByBuyer = countBy(state.orders, (order) => order.buyer);
  let duplicated = 0;
  for (const count of ordersByBuyer.values()) duplicated += count - 1;
  const wrong = state.orders.filter((order) => state.buyers.get(order.buyer) !== order.orderId).length - duplicated;
  return finding("one order per buyer", `${ordersByBuyer.size} buyers with an order`, {
    duplicated,
    wrong: Math.max(0, wrong),
  });
}

function checkCancelled(state: DurableState): Finding {
  const cancelled = new Map(
    state.orders.filter((order) => order.state === "cancelled").map((order) => [order.orderId, order.item]),
  );
  const unpaid = state.orders.filter((order) => order.state === "unpaid").length;
  let lost = 0;
  for (const [orderId, item] of cancelled) if (state.returned.get(orderId) !== item) lost += 1;
  const duplicated = countWhere(state.returned.keys(), (id) => !cancelled.has(id));
  return finding("unpaid orders are cancelled, their stock is back once", `${cancelled.size} cancelled`, {
    lost,
    duplicated,
    wrong: unpaid,
  });
}

function checkRefunds(state: DurableState): Finding {
  const states = new Map(state.orders.map((order) => [order.orderId, order.state]));
  const wrong = countWhere(state.refunds, (id) => states.get(id) !== "cancelled");
  const duplicated = state.refunds.length - new Set(state.refunds).size;
  return finding("only payments of cancelled orders are refunded", `${state.refunds.length} refunded`, {
    wrong,
    duplicated,
  });
}

function checkNotifications(state: DurableState): Finding {
  const told = countBy(state.notifications, ({ orderId, type }) => `${orderId}:${type}`);
  const expected = expectedEvents(state);
  let duplicated = 0;
  for (const count of told.values()) duplicated += count - 1;
  return finding("everybody was told everything once", `${state.notifications.length} notifications`, {
    lost: countWhere(expected.keys(), (name) => !told.has(name)),
    wrong: countWhere(told.keys(), (name) => !expected.has(name)),
    duplicated,
  });
}

function checkStatistics(state: DurableState): Finding {
  const expected = countBy([...expectedEvents(state).values()], (name) => name);
  const counted = new Map(state.statistics.map(({ type, item, count }) => [`${type} ${item}`, count]));
  let lost = 0;
  let duplicated = 0;
  for (const name of new Set([...expected.keys(), ...counted.keys()])) {
    const difference = (counted.get(name) ?? 0) - (expected.get(name) ?? 0);
    if (difference < 0) lost -= difference;
    else duplicated += difference;
  }
  const total = [...counted.values()].reduce((sum, count) => sum + count, 0);
  return finding("statistics count every event once", `${total} events`, { lost, duplicated });
}

/** What must have been published about the orders as they are: the event's name, and under what it is counted. */
function expectedEvents(state: DurableState): ReadonlyMap<string, string> {
  const events = new Map<string, string>();
  const refunded = new Set(state.refunds);
  for (const { orderId, item, state: orderState } of state.orders) {
    const types: OrderEventType[] = ["created"];
    if (orderState !== "unpaid") types.push(orderState);
    if (refunded.has(orderId)) types.push("refunded");
    for (const type of types) events.set(`${orderId}:${type}`, `${type} ${item}`);
  }
  return events;
}

function checkSettled(state: DurableState): Finding {
  return finding("every group has settled everything, no dead letters", "lag 0", {
    lost: state.deadLetters,
    wrong: state.outstanding,
  });
}

function countBy<T>(items: Iterable<T>, keyOf: (item: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) {
    const key = keyOf(item);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

function countWhere<T>(items: Iterable<T>, matches: (item: T) => boolean): number {
  let count = 0;
  for (const item of items) if (matches(item)) count += 1;
  return count;
}
