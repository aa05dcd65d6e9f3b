import assert from "node:assert/strict";
import { test } from "node:test";
import { demand } from "./demand.ts";
import { stockByItem } from "./model.ts";
import { isRisky } from "./risk.ts";

const options = { requests: 20_000, buyers: 4_000, seed: 7 };

test("the same seed gives the same demand, another seed another one", () => {
  assert.deepEqual(demand(options), demand(options));
  assert.notDeepEqual(demand(options), demand({ ...options, seed: 8 }));
});

test("every request has an id of its own", () => {
  assert.equal(new Set(demand(options).map((purchase) => purchase.requestId)).size, options.requests);
});

test("there are as many arrivals as requests, most of them at the opening, and they never go back in time", () => {
  for (const requests of [1, 2, 7, 1_001]) {
    const times = demand({ ...options, requests }).map((purchase) => purchase.atMs);
    assert.equal(times.length, requests);
    assert.deepEqual(
      times,
      times.toSorted((left, right) => left - right),
    );
    assert.ok(times.filter((atMs) => atMs === 0).length >= requests * 0.5);
  }
});

test("the first item is wanted many times as often as the last", () => {
  const wanted = Map.groupBy(demand(options), (purchase) => purchase.item);
  assert.equal(wanted.size, 20);
  assert.ok(wanted.get("item-00")!.length > 10 * wanted.get("item-19")!.length);
});

test("the stock is spread over the items without a rest", () => {
  const stock = stockByItem(1_234);
  assert.equal(
    [...stock.values()].reduce((sum, count) => sum + count, 0),
    1_234,
  );
  assert.equal(Math.max(...stock.values()) - Math.min(...stock.values()), 1);
});

test("the risk check refuses wrong quantities and a few buyers, always the same ones", () => {
  const buyers = Array.from({ length: 2_000 }, (_, index) => `buyer-${index}`);
  const risky = (quantity: number) =>
    buyers.filter((buyer) => isRisky({ requestId: "r", buyer, item: "item-00", quantity }, 3));
  assert.equal(risky(5).length, buyers.length);
  assert.ok(risky(1).length > 0 && risky(1).length < 50);
  assert.deepEqual(risky(1), risky(1));
});
