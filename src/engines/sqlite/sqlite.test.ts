import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { SqlTransaction } from "../../contracts/sql.ts";
import { type SqliteDatabase, sqlite } from "./index.ts";

function accounts(): { readonly database: DatabaseSync; readonly sql: ReturnType<typeof sqlite>; balance(): number } {
  const database = new DatabaseSync(":memory:");
  database.exec(
    "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0)); INSERT INTO account VALUES (1, 100)",
  );
  const balance = (): number => database.prepare("SELECT balance FROM account WHERE id = 1").get()!.balance as number;
  return { database, sql: sqlite(database), balance };
}

const take = "UPDATE account SET balance = balance - ? WHERE id = 1";

/** Lets everything that is ready happen. */
function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("a transaction commits when its work resolves and answers what the work answers", async () => {
  const { sql, balance, database } = accounts();
  const rows = await sql.transaction(async (transaction) => {
    assert.equal(await transaction.execute(take, [30]), 1);
    return transaction.query("SELECT balance FROM account WHERE id = ?", [1]);
  });
  assert.equal(rows[0]!.balance, 70);
  assert.equal(balance(), 70);
  assert.equal(database.isTransaction, false);
});

test("a transaction whose work rejects leaves nothing, and the next one goes on", async () => {
  const { sql, balance } = accounts();
  const failing = sql.transaction(async (transaction) => {
    await transaction.execute(take, [30]);
    throw new Error("changed my mind");
  });
  const throwing = sql.transaction(() => {
    throw new Error("at once");
  });
  const following = sql.transaction((transaction) => transaction.execute(take, [1]));
  await assert.rejects(failing, /changed my mind/);
  await assert.rejects(throwing, /at once/);
  await following;
  assert.equal(balance(), 99);
});

test("an error of a statement is the driver's own and rolls back", async () => {
  const { sql, balance } = accounts();
  await assert.rejects(
    sql.transaction(async (transaction) => {
      await transaction.execute(take, [30]);
      await transaction.execute(take, [100]);
    }),
    { code: "ERR_SQLITE_ERROR" },
  );
  assert.equal(balance(), 100);
});

test("transactions run one at a time, in the order in which they were asked for", async () => {
  const { sql } = accounts();
  const events: string[] = [];
  await Promise.all(
    [1, 2, 3].map((name) =>
      sql.transaction(async () => {
        events.push(`begin ${name}`);
        await turns();
        events.push(`end ${name}`);
      }),
    ),
  );
  assert.deepEqual(events, ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
});

test("a transaction inside a transaction is refused, also several calls deep, and does not block", async () => {
  const { sql, balance } = accounts();
  const deep = async (): Promise<void> => {
    await turns();
    await sql.transaction(() => {});
  };
  await assert.rejects(
    sql.transaction(async () => Promise.resolve().then(deep)),
    { code: "conflict", message: /inside a transaction/ },
  );
  await sql.transaction(async (transaction) => {
    await assert.rejects(
      sql.transaction(() => {}),
      { code: "conflict" },
    );
    await transaction.execute(take, [5]);
  });
  assert.equal(balance(), 95);
});

test("what was started in a transaction may have one of its own after the end", async () => {
  const { sql, balance } = accounts();
  const ended = Promise.withResolvers<void>();
  let later: Promise<unknown> | undefined;
  await sql.transaction(() => {
    later = ended.promise.then(() => sql.transaction((transaction) => transaction.execute(take, [7])));
  });
  ended.resolve();
  await later;
  assert.equal(balance(), 93);
});

test("two connections of one process do not hinder each other's order of calls", async () => {
  const one = accounts();
  const other = accounts();
  await one.sql.transaction(() => other.sql.transaction((transaction) => transaction.execute(take, [5])));
  assert.equal(other.balance(), 95);
});

test("a statement after the end is refused", async () => {
  const { sql, balance } = accounts();
  let kept: SqlTransaction | undefined;
  await sql.transaction((transaction) => {
    kept = transaction;
  });
  await assert.rejects(kept!.execute(take, [1]), { code: "closed" });
  await assert.rejects(kept!.query("SELECT 1"), { code: "closed" });
  assert.equal(balance(), 100);
});

test("when SQLite itself rolled back, nothing more is run outside of the transaction", async () => {
  const { sql, balance } = accounts();
  await assert.rejects(
    sql.transaction(async (transaction) => {
      await transaction.execute(take, [30]);
      await assert.rejects(transaction.execute("INSERT OR ROLLBACK INTO account VALUES (1, 0)"));
      await transaction.execute(take, [1]);
    }),
    { code: "conflict", message: /rolled this transaction back/ },
  );
  await assert.rejects(
    sql.transaction(async (transaction) => {
      await transaction.execute("ROLLBACK");
    }),
    { code: "conflict", outcome: "unknown" },
  );
  assert.equal(balance(), 100);
});

test("a transaction that the caller has open is left alone", async () => {
  const { sql, database, balance } = accounts();
  database.exec("BEGIN");
  database.exec("UPDATE account SET balance = 1");
  await assert.rejects(
    sql.transaction((transaction) => transaction.execute(take, [1])),
    { code: "conflict" },
  );
  database.exec("COMMIT");
  assert.equal(balance(), 1);
});

test("a lock held by another connection is unavailable, and a deferred constraint fails the commit as not applied", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "tenon-sqlite-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const holder = new DatabaseSync(join(directory, "shop.db"));
  const database = new DatabaseSync(join(directory, "shop.db"), { timeout: 0 });
  const sql = sqlite(database);
  holder.exec(
    "CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
  );
  holder.exec("BEGIN IMMEDIATE");
  await assert.rejects(
    sql.transaction(() => {}),
    { code: "unavailable", outcome: "not-applied" },
  );
  holder.exec("COMMIT");
  await assert.rejects(
    sql.transaction((transaction) => transaction.execute("INSERT INTO child VALUES (5)")),
    { code: "conflict", outcome: "not-applied" },
  );
  assert.equal(holder.prepare("SELECT count(*) AS count FROM child").get()!.count, 0);
  holder.close();
  database.close();
  await assert.rejects(
    sql.transaction(() => {}),
    { code: "closed" },
  );
});

test("statements are prepared once, and no more of them are kept than allowed", async () => {
  const database = new DatabaseSync(":memory:");
  let prepared = 0;
  const counting: SqliteDatabase = {
    get isTransaction() {
      return database.isTransaction;
    },
    exec: (text) => database.exec(text),
    prepare(text) {
      prepared++;
      return database.prepare(text);
    },
  };
  const sql = sqlite(counting, { statementsMax: 4 });
  const run = (...texts: string[]): Promise<void> =>
    sql.transaction(async (transaction) => {
      for (const text of texts) await transaction.query(text);
    });
  await run("SELECT 1", "SELECT 1", "SELECT 2", "SELECT 1");
  assert.equal(prepared, 4);
  await run("SELECT 1", "SELECT 2", "SELECT 1");
  assert.equal(prepared, 4);
  await run("SELECT 3", "SELECT 4", "SELECT 5");
  assert.ok(prepared > 7);
  assert.throws(() => sqlite(counting, { statementsMax: 0 }), { code: "invalid" });
});
