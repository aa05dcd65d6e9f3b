import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { sqlite } from "tenon/sqlite";
import { systemWorld } from "tenon/world";
import type { Order } from "./model.ts";
import { OrderStore } from "./order-store.ts";
import { SharedTransactions } from "./shared-transactions.ts";

async function openStore() {
  const database = new DatabaseSync(":memory:");
  const sql = sqlite(database);
  const store = new OrderStore(sql, new SharedTransactions(sql, systemWorld()));
  await store.migrate();
  return {
    store,
    rows: (sql: string) =>
      database
        .prepare(sql)
        .all()
        .map((row) => ({ ...row })),
  };
}

const order: Order = { orderId: "r1", buyer: "ann", item: "item-00", reservedAt: 1 };

test("an order is created once, however often it is asked for", async () => {
  const { store, rows } = await openStore();
  await Promise.all([store.create(order), store.create(order)]);
  await store.create(order);
  assert.deepEqual(rows("SELECT id, buyer, item, state FROM orders"), [
    { id: "r1", buyer: "ann", item: "item-00", state: "unpaid" },
  ]);
});

test("a payment that comes before the cancellation wins, and both say so again when repeated", async () => {
  const { store, rows } = await openStore();
  await store.create(order);
  const [paid, late] = await Promise.all([store.pay("r1"), store.cancelUnpaid("r1")]);
  assert.deepEqual([paid, late], ["paid", "paid"]);
  assert.equal(await store.pay("r1"), "paid");
  assert.deepEqual(rows("SELECT * FROM refunds"), []);
});

test("a payment that comes after the cancellation is refunded once", async () => {
  const { store, rows } = await openStore();
  await store.create(order);
  const [late, paid] = await Promise.all([store.cancelUnpaid("r1"), store.pay("r1")]);
  assert.deepEqual([late, paid], ["cancelled", "refunded"]);
  assert.equal(await store.pay("r1"), "refunded");
  assert.equal(await store.cancelUnpaid("r1"), "cancelled");
  assert.deepEqual(rows("SELECT * FROM refunds"), [{ order_id: "r1" }]);
});

test("a payment of an order that does not exist fails alone, not with those that share its transaction", async () => {
  const { store, rows } = await openStore();
  const [created, paid] = await Promise.allSettled([store.create(order), store.pay("r2")]);
  assert.equal(created.status, "fulfilled");
  assert.equal(paid.status, "rejected");
  assert.equal(rows("SELECT id FROM orders").length, 1);
});

test("orders that are created together are all stored, however many there are", async () => {
  const { store, rows } = await openStore();
  await Promise.all(Array.from({ length: 201 }, (_, index) => store.create({ ...order, orderId: `r${index}` })));
  assert.deepEqual(rows("SELECT count(*) AS count, count(DISTINCT id) AS ids FROM orders"), [{ count: 201, ids: 201 }]);
});
