import assert from "node:assert/strict";
import { test } from "node:test";
import { memory } from "tenon/embedded";
import { type PurchaseRequest, stockByItem } from "./model.ts";
import { recordKeys } from "./records.ts";
import { isRisky } from "./risk.ts";
import { StockService } from "./stock.ts";

const seed = 1;
const item = "item-00";

async function openStock(units: number, noteUnsentOrders = false) {
  const engine = await memory();
  const open = async () => {
    const service = new StockService(engine.keyValue, engine.world, { seed, noteUnsentOrders });
    await service.fill(units);
    return service;
  };
  const left = async (of = item) => {
    const [entry] = await engine.keyValue.get([recordKeys.stock(of)]);
    return Number(Buffer.from(entry!.value).toString());
  };
  return { engine, left, open, stock: await open(), [Symbol.asyncDispose]: () => engine.close() };
}

const buyers = Array.from({ length: 100 }, (_, index) => `buyer-${index}`).filter(
  (buyer) => !isRisky({ requestId: "r", buyer, item, quantity: 1 }, seed),
);

function request(index: number, change: Partial<PurchaseRequest> = {}): PurchaseRequest {
  return { requestId: `r${index}`, buyer: buyers[index]!, item, quantity: 1, ...change };
}

test("as many are accepted as there are units, however many ask at once", async () => {
  await using sale = await openStock(60);
  const decisions = await Promise.all(buyers.map((_, index) => sale.stock.decide(request(index))));
  const accepted = decisions.filter((decision) => decision.verdict === "accepted");
  assert.equal(accepted.length, stockByItem(60).get(item));
  assert.equal(decisions.filter((decision) => decision.verdict === "sold-out").length, buyers.length - accepted.length);
  assert.equal(await sale.left(), 0);
});

test("a repeated request gets the verdict and the order it had, at once or after a restart", async () => {
  await using sale = await openStock(20);
  const [first, same] = await Promise.all([sale.stock.decide(request(0)), sale.stock.decide(request(0))]);
  assert.equal(first.verdict, "accepted");
  assert.deepEqual(same, first);
  assert.deepEqual(await (await sale.open()).decide(request(0)), first);
  assert.equal(await sale.left(), 0);
});

test("a request that was told sold out stays so, also when stock comes back", async () => {
  await using sale = await openStock(20);
  const { order } = await sale.stock.decide(request(0));
  const refused = await Promise.all([sale.stock.decide(request(1)), sale.stock.decide(request(1))]);
  assert.deepEqual(
    refused.map((decision) => decision.verdict),
    ["sold-out", "sold-out"],
  );
  await sale.stock.giveBack(order!.orderId, item);
  assert.equal((await sale.stock.decide(request(1))).verdict, "sold-out");
  assert.equal((await sale.stock.decide(request(2))).verdict, "accepted");
});

test("stock that another process gave back can be bought as soon as the memory of its being sold out fades", async () => {
  await using sale = await openStock(20);
  let nowMs = 0;
  const { world, keyValue } = sale.engine;
  const clock = { ...world.clock, now: () => world.clock.now(), monotonic: () => nowMs };
  const here = new StockService(keyValue, { ...world, clock }, { seed, noteUnsentOrders: false });
  const { order } = await here.decide(request(0));
  assert.equal((await here.decide(request(1))).verdict, "sold-out");
  await sale.stock.giveBack(order!.orderId, item);
  nowMs = 49;
  assert.equal((await here.decide(request(2))).verdict, "sold-out");
  nowMs = 50;
  assert.equal((await here.decide(request(3))).verdict, "accepted");
});

test("a buyer gets one, of whatever item", async () => {
  await using sale = await openStock(40);
  assert.equal((await sale.stock.decide(request(0))).verdict, "accepted");
  const second = await sale.stock.decide(request(1, { buyer: buyers[0]!, item: "item-01" }));
  assert.equal(second.verdict, "already-bought");
  assert.equal(await sale.left("item-01"), 2);
});

test("stock comes back once, however often it is given back, and a restart does not fill the shelf again", async () => {
  await using sale = await openStock(40);
  const { order } = await sale.stock.decide(request(0));
  assert.equal(await sale.left(), 1);
  await Promise.all([sale.stock.giveBack(order!.orderId, item), sale.stock.giveBack(order!.orderId, item)]);
  await (await sale.open()).giveBack(order!.orderId, item);
  assert.equal(await sale.left(), 2);
});

test("past its deadline a request is not sold anything, unless it was accepted before", async () => {
  await using sale = await openStock(40);
  assert.equal((await sale.stock.decide(request(0), 1)).verdict, "expired");
  assert.equal((await sale.stock.decide(request(0))).verdict, "expired");
  assert.equal((await sale.stock.decide(request(1))).verdict, "accepted");
  assert.equal((await sale.stock.decide(request(1), 1)).verdict, "accepted");
  assert.equal(await sale.left(), 1);
});

test("a risky request is denied and reserves nothing", async () => {
  await using sale = await openStock(40);
  assert.equal((await sale.stock.decide(request(0, { quantity: 5 }))).verdict, "denied");
  assert.equal(await sale.left(), 2);
});

test("a reservation without a message behind it notes its unsent order in the same commit", async () => {
  await using sale = await openStock(40, true);
  const { order } = await sale.stock.decide(request(0));
  const [note] = await sale.engine.keyValue.get([recordKeys.unsent(order!.orderId)]);
  assert.deepEqual(JSON.parse(Buffer.from(note!.value).toString()), order);
});
