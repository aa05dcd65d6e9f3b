import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { memory } from "../engines/embedded/index.ts";
import { sqlite } from "../engines/sqlite/index.ts";
import { json, type MessageContext, topic } from "../messaging/index.ts";
import { idempotent, inbox } from "./index.ts";

interface Order {
  readonly buyer: string;
}

async function shopFor(t: TestContext) {
  const engine = await memory();
  t.after(() => engine.close());
  const database = new DatabaseSync(":memory:");
  database.exec("CREATE TABLE orders (buyer TEXT NOT NULL)");
  const box = inbox(sqlite(database), { consumer: "orders" });
  await box.migrate();
  const orders = () =>
    database
      .prepare("SELECT buyer FROM orders")
      .all()
      .map((row) => row.buyer as string);
  const requests = topic(engine, "requests", { codec: json<Order>(), partitions: 2, groups: ["orders"] });
  return { box, orders, requests };
}

const insert = "INSERT INTO orders VALUES (?)";
const retry = { delayMs: 1 };

test("a message whose handler failed after its effect is redelivered and takes effect once", async (t) => {
  const { box, orders, requests } = await shopFor(t);
  const attempts: number[] = [];
  const done = Promise.withResolvers<void>();
  const handle = idempotent<Order, MessageContext>(box, async ({ buyer }, context, transaction) => {
    attempts.push(context.attempt);
    await transaction.execute(insert, [buyer]);
    if (context.attempt < 3) throw new Error("crash between effect and commit");
    done.resolve();
  });
  const consumer = await requests.consume("orders", handle, { retry });
  await requests.publish({ buyer: "ann" }, { key: "ann" });
  await done.promise;
  await consumer.close();
  assert.deepEqual(attempts, [1, 2, 3]);
  assert.deepEqual(orders(), ["ann"]);
});

test("a message that took effect but was never settled does not reach the handler again", async (t) => {
  const { box, orders, requests } = await shopFor(t);
  const events: string[] = [];
  const done = Promise.withResolvers<void>();
  const handle = idempotent(box, async ({ buyer }: Order, _context, transaction) => {
    events.push("handled");
    await transaction.execute(insert, [buyer]);
  });
  const consumer = await requests.consume(
    "orders",
    async (order, context) => {
      await handle(order, context);
      events.push(`committed, attempt ${context.attempt}`);
      if (context.attempt === 1) throw new Error("the settle never came");
      done.resolve();
    },
    { retry },
  );
  await requests.publish({ buyer: "ann" });
  await done.promise;
  await consumer.close();
  assert.deepEqual(events, ["handled", "committed, attempt 1", "committed, attempt 2"]);
  assert.deepEqual(orders(), ["ann"]);
});

test("an idempotent handler can be written where the topic is consumed", async (t) => {
  const { box, orders, requests } = await shopFor(t);
  const done = Promise.withResolvers<void>();
  const consumer = await requests.consume(
    "orders",
    idempotent(box, async (order, context, transaction) => {
      assert.equal(context.attempt, 1);
      await transaction.execute(insert, [order.buyer]);
      done.resolve();
    }),
  );
  await requests.publish({ buyer: "bob" });
  await done.promise;
  await consumer.close();
  assert.deepEqual(orders(), ["bob"]);
});
