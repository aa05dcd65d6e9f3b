import assert from "node:assert/strict";
import { test } from "node:test";
import { audit, type BuyersView, type DurableState, type StoredOrderRow } from "./audit.ts";
import { type OrderEventType, stockByItem } from "./model.ts";
import type { RequestRecord } from "./records.ts";

/** A sale of 40 units: a paid order, one that was cancelled, one that was paid too late, and a buyer who came too late. */
function soundSale(): { state: Mutable; buyers: BuyersView } {
  const orders: StoredOrderRow[] = [
    { orderId: "r1", buyer: "ann", item: "item-00", state: "paid" },
    { orderId: "r2", buyer: "bob", item: "item-00", state: "cancelled" },
    { orderId: "r3", buyer: "cy", item: "item-01", state: "cancelled" },
  ];
  const events: { orderId: string; type: OrderEventType; item: string }[] = [
    { orderId: "r1", type: "created", item: "item-00" },
    { orderId: "r1", type: "paid", item: "item-00" },
    { orderId: "r2", type: "created", item: "item-00" },
    { orderId: "r2", type: "cancelled", item: "item-00" },
    { orderId: "r3", type: "created", item: "item-01" },
    { orderId: "r3", type: "cancelled", item: "item-01" },
    { orderId: "r3", type: "refunded", item: "item-01" },
  ];
  const counts = Map.groupBy(events, ({ type, item }) => `${type} ${item}`);
  return {
    state: {
      stock: new Map(
        [...stockByItem(40)].map(([item, count]) => [item, item === "item-00" ? count - 1 : count] as const),
      ),
      requests: new Map<string, RequestRecord>([
        ...orders.map(
          ({ orderId, buyer, item }) => [orderId, { verdict: "accepted", buyer, item, decidedAt: 1 }] as const,
        ),
        ["r4", { verdict: "sold-out", buyer: "dan", item: "item-00", decidedAt: 1 }] as const,
      ]),
      buyers: new Map(orders.map(({ orderId, buyer }) => [buyer, orderId])),
      returned: new Map([
        ["r2", "item-00"],
        ["r3", "item-01"],
      ]),
      unsent: [],
      orders,
      refunds: ["r3"],
      notifications: events.map(({ orderId, type }) => ({ orderId, type })),
      statistics: [...counts.values()].map((same) => ({
        type: same[0]!.type,
        item: same[0]!.item,
        count: same.length,
      })),
      outstanding: 0,
      deadLetters: 0,
    },
    buyers: { stock: 40, accepted: new Set(["r1", "r2", "r3"]), unanswered: new Set() },
  };
}

type Mutable = {
  -readonly [Name in keyof DurableState]: DurableState[Name] extends ReadonlyMap<infer Key, infer Value>
    ? Map<Key, Value>
    : DurableState[Name] extends readonly (infer Item)[]
      ? Item[]
      : DurableState[Name];
};

test("a sound sale passes every check", () => {
  const { state, buyers } = soundSale();
  const result = audit(state, buyers);
  assert.deepEqual(
    result.checks.filter((check) => !check.holds),
    [],
  );
  assert.ok(result.holds);
  assert.deepEqual(
    [result.orders, result.sold, result.cancelled, result.refunded, result.oversold, result.lost, result.duplicated],
    [3, 1, 2, 1, 0, 0, 0],
  );
});

test("a request that was never answered is lost, but its order is no second fault", () => {
  const { state, buyers } = soundSale();
  const result = audit(state, { ...buyers, accepted: new Set(["r1", "r2"]), unanswered: new Set(["r3"]) });
  assert.deepEqual(
    result.checks.filter((check) => !check.holds).map((check) => check.name),
    ["every request was answered"],
  );
  assert.equal(result.lost, 1);
});

const faults: readonly {
  name: string;
  corrupt: (state: Mutable) => void;
  figure?: "oversold" | "lost" | "duplicated";
}[] = [
  {
    name: "more sold of an item than there was",
    figure: "oversold",
    corrupt: (state) => {
      for (const orderId of ["x1", "x2"])
        state.orders.push({ orderId, buyer: orderId, item: "item-00", state: "paid" });
    },
  },
  {
    name: "an accepted request without its order",
    figure: "lost",
    corrupt: (state) => {
      state.orders.shift();
    },
  },
  {
    name: "a second order for a buyer",
    figure: "duplicated",
    corrupt: (state) => {
      state.orders.push({ ...state.orders[0]!, orderId: "x1" });
    },
  },
  {
    name: "the same order twice",
    figure: "duplicated",
    corrupt: (state) => {
      state.orders.push(state.orders[0]!);
    },
  },
  {
    name: "an order without a reservation",
    figure: "lost",
    corrupt: (state) => {
      state.requests.delete("r1");
    },
  },
  {
    name: "a reservation without an order",
    figure: "lost",
    corrupt: (state) => {
      state.requests.set("x1", { verdict: "accepted", buyer: "eve", item: "item-02", decidedAt: 1 });
    },
  },
  {
    name: "an order for a request that was refused",
    corrupt: (state) => {
      state.requests.set("r1", { ...state.requests.get("r1")!, verdict: "sold-out" });
    },
  },
  {
    name: "an order that went to another buyer than reserved",
    corrupt: (state) => {
      state.orders[0] = { ...state.orders[0]!, buyer: "mallory" };
    },
  },
  {
    name: "a reservation whose order was never sent",
    figure: "lost",
    corrupt: (state) => {
      state.unsent.push("r1");
    },
  },
  {
    name: "a unit that vanished from the shelf",
    figure: "lost",
    corrupt: (state) => {
      state.stock.set("item-05", 1);
    },
  },
  {
    name: "stock that came back twice",
    figure: "duplicated",
    corrupt: (state) => {
      state.stock.set("item-01", 3);
    },
  },
  {
    name: "stock of a cancelled order that never came back",
    figure: "lost",
    corrupt: (state) => {
      state.returned.delete("r2");
    },
  },
  {
    name: "stock of a paid order that came back",
    figure: "duplicated",
    corrupt: (state) => {
      state.returned.set("r1", "item-00");
    },
  },
  {
    name: "an order that is still unpaid",
    corrupt: (state) => {
      state.orders[0] = { ...state.orders[0]!, state: "unpaid" };
    },
  },
  {
    name: "a refund of an order that is paid",
    corrupt: (state) => {
      state.refunds.push("r1");
    },
  },
  {
    name: "an event that nobody was told of",
    figure: "lost",
    corrupt: (state) => {
      state.notifications.pop();
    },
  },
  {
    name: "a notification that went out twice",
    figure: "duplicated",
    corrupt: (state) => {
      state.notifications.push(state.notifications[0]!);
    },
  },
  {
    name: "an event that was counted twice",
    figure: "duplicated",
    corrupt: (state) => {
      state.statistics[0] = { ...state.statistics[0]!, count: state.statistics[0]!.count + 1 };
    },
  },
  {
    name: "an event that was not counted",
    figure: "lost",
    corrupt: (state) => {
      state.statistics.shift();
    },
  },
  {
    name: "a message that nobody settled",
    corrupt: (state) => {
      state.outstanding = 1;
    },
  },
  {
    name: "a dead letter",
    figure: "lost",
    corrupt: (state) => {
      state.deadLetters = 1;
    },
  },
];

for (const { name, corrupt, figure } of faults) {
  test(`the audit finds ${name}`, () => {
    const { state, buyers } = soundSale();
    corrupt(state);
    const result = audit(state, buyers);
    assert.equal(result.holds, false);
    if (figure !== undefined) assert.ok(result[figure] > 0, `${figure} is ${result[figure]}`);
  });
}

test("the audit finds an order that its buyer was not told of", () => {
  const { state, buyers } = soundSale();
  assert.equal(audit(state, { ...buyers, accepted: new Set(["r1", "r2"]) }).holds, false);
});
