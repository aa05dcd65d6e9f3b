import assert from "node:assert/strict";
import { test } from "node:test";
import { memory } from "tenon/embedded";
import { TenonError } from "tenon/messaging";
import { localLimiter } from "tenon/traffic";
import { DirectGateway, QueueingGateway } from "./gateway.ts";
import type { PurchaseRequest } from "./model.ts";
import { saleTopics } from "./topics.ts";

const request: PurchaseRequest = { requestId: "r1", buyer: "ann", item: "item-00", quantity: 1 };

async function openTopics() {
  const engine = await memory();
  const topics = saleTopics(engine);
  const answers = topics.answers.get("gateway-0")!;
  const bucket = localLimiter({ type: "tokenBucket", ratePerSecond: 100, burst: 100 });
  return {
    engine,
    topics,
    answers,
    openGateway: () => QueueingGateway.open("gateway-0", engine.world, bucket, topics.requests, answers),
    [Symbol.asyncDispose]: () => engine.close(),
  };
}

test("a request is put on the topic of requests, and its answer reaches the buyer", async () => {
  await using sale = await openTopics();
  const gateway = await sale.openGateway();
  const answer = gateway.purchase(request);
  const queued = Promise.withResolvers<string>();
  await using _ = await sale.topics.requests.consume("stock", ({ requestId, gateway: id }) => {
    queued.resolve(`${requestId} of ${id}`);
  });
  assert.equal(await queued.promise, "r1 of gateway-0");
  await sale.answers.publish([["r1", "sold-out"]]);
  assert.equal(await answer, "sold-out");
  await gateway.close();
});

test("a gateway that was started again gets its answers while its former process still counts as a member", async () => {
  await using sale = await openTopics();
  // It hears nothing any more, as after SIGKILL, but its session has not ended.
  await sale.openGateway();
  await sale.answers.publish([["r0", "accepted"]]);
  const gateway = await sale.openGateway();
  const answer = gateway.purchase(request);
  await sale.answers.publish([["r1", "accepted"]]);
  assert.equal(await answer, "accepted");
});

test("a gateway whose subscription has ended subscribes again", async () => {
  await using sale = await openTopics();
  const gateway = await sale.openGateway();
  const { messages } = sale.engine;
  const groupsNow = async () => (await messages.describe("answers.gateway-0")).groups.map(({ group }) => group);
  const [first] = await groupsNow();
  await messages.removeGroup("answers.gateway-0", first!);
  let [again] = await groupsNow();
  for (; again === undefined; [again] = await groupsNow()) await sale.engine.world.timers.sleep(10);
  const answer = gateway.purchase(request);
  await sale.answers.publish([["r1", "sold-out"]]);
  assert.equal(await answer, "sold-out");
  await gateway.close();
});

test("without an answer from the limiter or the stock, the buyer is told to ask again", async () => {
  const failing = () => Promise.reject(new TenonError("unavailable", "no connection"));
  const sold = async () => "accepted" as const;
  assert.equal(await new DirectGateway(failing, sold).purchase(request), "unavailable");
  assert.equal(await new DirectGateway(async () => true, failing).purchase(request), "unavailable");
  assert.equal(await new DirectGateway(async () => false, sold).purchase(request), "limited");
  assert.equal(await new DirectGateway(async () => true, sold).purchase(request), "accepted");
});
