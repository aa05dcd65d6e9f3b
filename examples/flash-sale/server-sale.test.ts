import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { redisCommand } from "../../scripts/engines/redis-protocol.ts";
import { redisServerMissing } from "../../scripts/engines/redis-server.ts";
import { engine } from "../../test/engines.ts";
import { audit, type BuyersView, type DurableState } from "./audit.ts";
import { readDurableState } from "./durable-state.ts";
import { openEngine } from "./engine-store.ts";
import type { Flow } from "./model.ts";
import { keyValueOf, UsageError } from "./options.ts";
import { openOrders } from "./orders-database.ts";
import { createSchema, dropSchema } from "./postgres-orders.ts";
import { recordKeys } from "./records.ts";
import { type Outcome, reportText, summarize } from "./report.ts";
import { run } from "./run.ts";
import { type ServerType, saleServers, serverTypes } from "./sale-servers.ts";
import { openServers, type ServerStores } from "./servers.ts";

const redis = await engine("redis");
const postgres = await engine("postgres");
const scratch = mkdtempSync(join(tmpdir(), "flash-sale-test-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

async function open(crash: boolean, type: ServerType = "redis"): Promise<ServerStores> {
  const directory = mkdtempSync(join(scratch, "run-"));
  const opened = await openServers({ engine: type, keyValue: keyValueOf(type, undefined), urls: {}, crash, directory });
  assert.equal(opened.stores.orders.type, postgres.skip === false ? "postgres" : "sqlite");
  return opened;
}

function sell({ stores, own }: ServerStores, options: { flow: Flow; processes: boolean; crash: boolean }) {
  return run({
    requests: 300,
    stock: 60,
    buyers: 100,
    seed: 5,
    ...options,
    stores,
    own,
    progress: { write: () => true },
    signal: AbortSignal.timeout(120_000),
  });
}

function assertSound(outcome: Outcome): void {
  assert.ok(outcome.audit.holds, reportText(outcome));
  const summary = summarize(outcome);
  assert.equal(summary.requests, summary.accepted + summary.soldOut + summary.limited + summary.failed);
  assert.equal(summary.orders, summary.accepted);
  assert.ok(summary.accepted >= 30, `only ${summary.accepted} of 60 units were taken`);
  assert.deepEqual([summary.oversold, summary.lost, summary.duplicated], [0, 0, 0]);
}

for (const type of serverTypes) {
  const { title, engine: name } = saleServers[type];
  const missing = (await engine(name)).skip;

  test(`a sale in processes of its own on ${title} passes its audit and leaves nothing on the servers`, {
    skip: missing,
  }, async () => {
    const opened = await open(false, type);
    try {
      const outcome = await sell(opened, { flow: "queue", processes: true, crash: false });
      assertSound(outcome);
      assert.equal(outcome.processCount, 5);
    } finally {
      await opened.close({ keep: false });
    }
    const { engine: store, orders } = opened.stores;
    assert.ok(store.type === "servers");
    const { messages, keyValue } = store;
    if (keyValue.type === "redis") assert.deepEqual(await keysUnder(keyValue.prefix), []);
    // They could not be made again if they were still there.
    const schemas = orders.type === "postgres" ? [orders.schema] : [];
    if (messages.type === "postgres") schemas.push(messages.prefix);
    for (const schema of schemas) {
      await createSchema(postgres.url, schema, 5_000);
      await dropSchema(postgres.url, schema);
    }
  });

  if (type === "redis") continue;
  test(`a sale on ${title} passes its audit when one process of each kind is killed in mid-sale`, {
    skip: missing,
  }, async () => {
    const opened = await open(true, type);
    try {
      const outcome = await sell(opened, { flow: "queue", processes: true, crash: true });
      assertSound(outcome);
      const killed = outcome.crashes.map((crash) => crash.name);
      for (const victim of ["gateway-1", "stock-1", "orders"]) assert.ok(killed.includes(victim), killed.join());
    } finally {
      await opened.close({ keep: false });
    }
  });
}

for (const flow of ["queue", "bucket"] as const) {
  test(`a sale with the ${flow} flow passes its audit when one process of each kind, and Redis, are killed in mid-sale`, {
    skip: redisServerMissing,
  }, async () => {
    const opened = await open(true);
    try {
      const outcome = await sell(opened, { flow, processes: true, crash: true });
      assertSound(outcome);
      assert.deepEqual(
        outcome.crashes.map(({ name }) => name),
        flow === "queue" ? ["gateway-1", "stock-1", "Redis", "orders"] : ["gateway-1", "Redis", "orders"],
      );
    } finally {
      await opened.close({ keep: false });
    }
  });
}

test("in one process on Redis the audit holds, and finds orders removed and stock added on the servers", {
  skip: redis.skip,
}, async () => {
  const opened = await open(false);
  const { stores } = opened;
  try {
    assertSound(await sell(opened, { flow: "queue", processes: false, crash: false }));
    const sound = await readDurableState(stores);
    const buyers = buyersOf(sound);
    assert.ok(audit(sound, buyers).holds);
    {
      await using orders = await openOrders(stores.orders);
      const remove = "DELETE FROM orders WHERE id = (SELECT min(id) FROM orders WHERE state = 'paid')";
      await orders.sql.transaction((transaction) => transaction.execute(remove));
    }
    assert.ok(audit(await readDurableState(stores), buyers).lost > 0);
    {
      await using changed = await openEngine(stores.engine);
      await changed.keyValue.commit([{ type: "add", key: recordKeys.stock("item-00"), by: 1 }]);
    }
    assert.ok(audit(await readDurableState(stores), buyers).duplicated > 0);
  } finally {
    await opened.close({ keep: false });
  }
});

function buyersOf(state: DurableState): BuyersView {
  return { stock: 60, accepted: new Set(state.orders.map((order) => order.orderId)), unanswered: new Set() };
}

test("a server that was asked for and is not there is a mistake of one line that says what to do", async () => {
  const directory = mkdtempSync(join(scratch, "nowhere-"));
  const nowhere = { engine: "redis", keyValue: undefined, crash: false, directory } as const;
  await assert.rejects(openServers({ ...nowhere, urls: { redis: "redis://:secret@127.0.0.1:1" } }), (error) => {
    assert.ok(error instanceof UsageError);
    assert.match(error.message, /^no Redis answers at 127.0.0.1:1; .*npm run engines -- up redis$/);
    return true;
  });
});

test("a database that was asked for and is not there is not replaced by another", { skip: redis.skip }, async () => {
  const directory = mkdtempSync(join(scratch, "nowhere-"));
  const options = { engine: "redis", keyValue: undefined, crash: false, directory } as const;
  await assert.rejects(
    openServers({ ...options, urls: { postgres: "postgres://u:secret@127.0.0.1:1/shop" } }),
    (error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /^PostgreSQL at 127.0.0.1:1: [^\n]+$/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    },
  );
});

async function keysUnder(prefix: string): Promise<readonly string[]> {
  return (await redisCommand(redis.url, "KEYS", `${prefix}*`)) as readonly string[];
}
