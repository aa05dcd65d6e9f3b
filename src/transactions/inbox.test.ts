import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { SqlEngine } from "../contracts/sql.ts";
import { sqlite } from "../engines/sqlite/index.ts";
import { systemWorld } from "../world/index.ts";
import { type Inbox, idempotent, inbox, messageIdentity } from "./index.ts";

interface Shop {
  readonly database: DatabaseSync;
  readonly sql: SqlEngine;
  readonly inbox: Inbox;
  orders(): string[];
  records(): number;
}

async function shop(file = ":memory:"): Promise<Shop> {
  const database = new DatabaseSync(file);
  database.exec("CREATE TABLE IF NOT EXISTS orders (buyer TEXT NOT NULL)");
  const sql = sqlite(database);
  const box = inbox(sql, { consumer: "orders" });
  await box.migrate();
  return {
    database,
    sql,
    inbox: box,
    orders: () =>
      database
        .prepare("SELECT buyer FROM orders")
        .all()
        .map((row) => row.buyer as string),
    records: () => database.prepare("SELECT count(*) AS count FROM tenon_inbox").get()!.count as number,
  };
}

const insert = "INSERT INTO orders VALUES (?)";
const message = (position: bigint, id?: string) => ({ id, topic: "requests", partition: 3, position });

test("a redelivered message does not reach the handler again", async () => {
  const { inbox, orders } = await shop();
  let calls = 0;
  const handle = idempotent(inbox, async (buyer: string, _context, transaction) => {
    calls++;
    await transaction.execute(insert, [buyer]);
  });
  await handle("ann", message(1n));
  await handle("ann", message(1n));
  await handle("bob", message(2n));
  assert.deepEqual(orders(), ["ann", "bob"]);
  assert.equal(calls, 2);
});

test("duplicates that come at the same time take effect once", async () => {
  const { inbox, orders } = await shop();
  const handle = idempotent(inbox, async (buyer: string, _context, transaction) => {
    await new Promise((resolve) => setImmediate(resolve));
    await transaction.execute(insert, [buyer]);
  });
  await Promise.all(
    Array.from({ length: 60 }, (_, index) => handle(`buyer ${index % 3}`, message(0n, `request ${index % 3}`))),
  );
  assert.deepEqual(orders().sort(), ["buyer 0", "buyer 1", "buyer 2"]);
});

test("a handler that throws leaves neither effect nor record, and the redelivery takes effect", async () => {
  const { inbox, orders, records } = await shop();
  let failures = 1;
  const handle = idempotent(inbox, async (buyer: string, _context, transaction) => {
    await transaction.execute(insert, [buyer]);
    if (failures-- > 0) throw new Error("crash after the effect");
  });
  await assert.rejects(handle("ann", message(1n)), /crash after the effect/);
  assert.deepEqual(orders(), []);
  assert.equal(records(), 0);
  await handle("ann", message(1n));
  assert.deepEqual(orders(), ["ann"]);
  assert.equal(records(), 1);
});

test("a process that dies between effect and commit, or between commit and settle, causes one effect after the redelivery", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "tenon-inbox-"));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const [name, before, after] of [
    ["before", "process.kill(process.pid, 'SIGKILL')", ""],
    ["after", "", "process.kill(process.pid, 'SIGKILL')"],
  ] as const) {
    const file = join(directory, `${name}.db`);
    const main = `
      import { DatabaseSync } from "node:sqlite";
      import { sqlite } from ${JSON.stringify(import.meta.resolve("../engines/sqlite/index.ts"))};
      import { idempotent, inbox } from ${JSON.stringify(import.meta.resolve("./index.ts"))};
      const database = new DatabaseSync(${JSON.stringify(file)});
      database.exec("CREATE TABLE IF NOT EXISTS orders (buyer TEXT NOT NULL)");
      const box = inbox(sqlite(database), { consumer: "orders" });
      await box.migrate();
      const handle = idempotent(box, async (buyer, context, transaction) => {
        await transaction.execute("${insert}", [buyer]);
        ${before}
      });
      await handle("ann", { id: undefined, topic: "requests", partition: 3, position: 1n });
      ${after}
    `;
    const died = spawnSync(process.execPath, ["--input-type=module", "--eval", main], { encoding: "utf8" });
    assert.equal(died.signal, "SIGKILL", died.stderr);
    const { inbox, orders, database } = await shop(file);
    assert.equal(orders().length, name === "before" ? 0 : 1);
    const handle = idempotent(inbox, async (buyer: string, _context, transaction) => {
      await transaction.execute(insert, [buyer]);
    });
    await handle("ann", message(1n));
    assert.deepEqual(orders(), ["ann"]);
    database.close();
  }
});

test("several messages can be recorded in one transaction, and a duplicate among them is told apart", async () => {
  const { inbox, sql, orders } = await shop();
  const batch = ["a", "b", "a", "c"];
  const handle = () =>
    sql.transaction(async (transaction) => {
      const fresh: boolean[] = [];
      for (const id of batch) {
        const first = await inbox.once(transaction, id);
        if (first) await transaction.execute(insert, [id]);
        fresh.push(first);
      }
      return fresh;
    });
  assert.deepEqual(await handle(), [true, true, false, true]);
  assert.deepEqual(await handle(), [false, false, false, false]);
  assert.deepEqual(orders(), ["a", "b", "c"]);
});

test("consumers that share a table do not see each other's records", async () => {
  const { inbox: orders, sql } = await shop();
  const mails = inbox(sql, { consumer: "mails" });
  await sql.transaction(async (transaction) => {
    assert.equal(await orders.once(transaction, "a"), true);
    assert.equal(await mails.once(transaction, "a"), true);
  });
});

test("a message is named by its id within its topic, else by its place", () => {
  assert.equal(messageIdentity(message(7n, "r/1")), "requests//r/1");
  assert.equal(messageIdentity(message(7n, "")), "requests//");
  assert.equal(messageIdentity(message(7n)), "requests/3/7");
});

test("records are removed when they are older than keepMs, by request and in passing", async () => {
  const { sql, records } = await shop();
  let now = 1_000_000;
  const world = systemWorld();
  const box = inbox(sql, {
    consumer: "orders",
    keepMs: 1_000,
    world: { ...world, clock: { ...world.clock, now: () => now } },
  });
  const record = (from: number, to: number) =>
    sql.transaction(async (transaction) => {
      for (let id = from; id < to; id++) await box.once(transaction, String(id));
    });
  await record(0, 100);
  now += 1_000;
  assert.equal(await sql.transaction((transaction) => box.clean(transaction)), 0);
  now += 1;
  assert.equal(await sql.transaction((transaction) => box.clean(transaction, { limit: 30 })), 30);
  assert.equal(records(), 70);
  await record(100, 500);
  assert.equal(records(), 400);
});

test("wrong options and identities are invalid, and other dialects unsupported", async () => {
  const { sql } = await shop();
  assert.throws(() => inbox(sql, { consumer: "" }), { code: "invalid" });
  assert.throws(() => inbox(sql, { consumer: "a", table: "x; DROP TABLE orders" }), { code: "invalid" });
  assert.throws(() => inbox(sql, { consumer: "a", keepMs: 0 }), { code: "invalid" });
  const postgres: SqlEngine = { dialect: "mysql", transaction: sql.transaction };
  assert.throws(() => inbox(postgres, { consumer: "a" }), { code: "unsupported" });
  const box = inbox(sql, { consumer: "a" });
  for (const id of ["", "x".repeat(513)]) {
    await assert.rejects(
      sql.transaction((transaction) => box.once(transaction, id)),
      { code: "invalid" },
    );
  }
});
