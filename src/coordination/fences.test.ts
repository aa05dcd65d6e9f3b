import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { KeyValueChange, KeyValueEngine } from "../contracts/key-value.ts";
import type { SqlEngine } from "../contracts/sql.ts";
import { sqlite } from "../engines/sqlite/index.ts";
import { onMemory, Pausable } from "./fixtures.test.ts";
import { fenced, fenceTable, mutex, sqlFence } from "./index.ts";

const lost = { code: "lost", outcome: "not-applied" };

function paid(by: string): KeyValueChange {
  return { type: "put", key: "refund/7", value: new TextEncoder().encode(by) };
}

async function shownIn(keyValue: KeyValueEngine, key: string): Promise<string | undefined> {
  const [entry] = await keyValue.get([key]);
  return entry && new TextDecoder().decode(entry.value);
}

function shop(): { database: DatabaseSync; sql: SqlEngine; state: () => string } {
  const database = new DatabaseSync(":memory:");
  database.exec(
    "CREATE TABLE refunds (id INTEGER PRIMARY KEY, state TEXT NOT NULL); INSERT INTO refunds VALUES (7, 'asked')",
  );
  return {
    database,
    sql: sqlite(database),
    state: () => database.prepare("SELECT state FROM refunds WHERE id = 7").get()!.state as string,
  };
}

test("a holder that was paused until its lock had passed on is refused by both guards when it writes", () =>
  onMemory(async ({ other, world, sleep }) => {
    const { sql, state } = shop();
    const fences = sqlFence(sql);
    await fences.migrate();
    const pay = async (token: bigint, by: string): Promise<void> => {
      await fenced(other.keyValue, "refund/7", token, [paid(by)]);
    };
    const update = (token: bigint, by: string): Promise<void> =>
      sql.transaction(async (transaction) => {
        await fences.guard(transaction, "refund/7", token);
        await transaction.execute("UPDATE refunds SET state = ? WHERE id = 7", [by]);
      });

    const process = new Pausable(other.leases, world);
    const old = await mutex({ leases: process.leases, world: process.world }, "refund/7").acquire();
    await pay(old.token, "old");
    await update(old.token, "old");
    // It has looked, it still holds the lock, and now the process stands still: nothing tells it that time goes by.
    old.check();
    process.pause();
    const next = await mutex(other, "refund/7").acquire({ waitMs: 40_000 });
    await pay(next.token, "new");
    await update(next.token, "new");
    // It wakes in the middle of its work, and writes before any of its timers has fired.
    process.resume();
    await assert.rejects(pay(old.token, "old, too late"), lost);
    await assert.rejects(update(old.token, "old, too late"), lost);
    assert.equal(await shownIn(other.keyValue, "refund/7"), "new");
    assert.equal(state(), "new");
    await sleep(1);
    assert.equal(old.signal.reason.code, "lost", "its signal tells it, when it comes to listen");
    await pay(next.token, "new again");
    await update(next.token, "new again");
    assert.equal(state(), "new again");
  }));

test("without a guard the same write goes through: a lock alone cannot hold a paused holder back", () =>
  onMemory(async ({ other, world }) => {
    const process = new Pausable(other.leases, world);
    const old = await mutex({ leases: process.leases, world: process.world }, "refund/7").acquire();
    old.check();
    process.pause();
    const next = await mutex(other, "refund/7").acquire({ waitMs: 40_000 });
    await other.keyValue.commit([paid("new")]);
    process.resume();
    await other.keyValue.commit([paid("old, too late")]);
    assert.equal(await shownIn(other.keyValue, "refund/7"), "old, too late");
    await next.release();
  }));

test("a fenced commit answers what a commit of the changes alone would", () =>
  onMemory(async ({ engine }) => {
    const { keyValue } = engine;
    const add = { type: "add", key: "count", by: 1, max: 1 } as const;
    for (const round of [1, 2]) {
      const token = 5n;
      const result = await fenced(keyValue, "r", token, [paid("a"), { ...add, key: `count ${round}` }]);
      assert.ok(result.committed);
      assert.deepEqual(result.counters, [undefined, 1]);
    }
    const refused = await fenced(keyValue, "r", 6n, [paid("b"), { ...add, key: "count 1" }]);
    assert.ok(!refused.committed);
    assert.deepEqual([refused.failed, refused.reason, refused.current?.key], [1, "bound", "count 1"]);
    assert.equal(await shownIn(keyValue, "refund/7"), "a");
    // The token of a commit that was refused has not been recorded either.
    assert.ok((await fenced(keyValue, "r", 5n, [paid("c")])).committed);
  }));

test("an empty fenced commit bars the tokens before it, of its own resource only", () =>
  onMemory(async ({ engine }) => {
    const { keyValue } = engine;
    await fenced(keyValue, "a", 9n, []);
    await assert.rejects(fenced(keyValue, "a", 8n, [paid("x")]), {
      ...lost,
      fields: { resource: "a", token: 8n, seen: 9n },
    });
    assert.ok((await fenced(keyValue, "a/b", 1n, [])).committed);
    assert.ok((await fenced(keyValue, "A", 1n, [])).committed);
  }));

test("of tokens that come at the same time none takes effect after a greater one", () =>
  onMemory(async ({ engine }) => {
    const { keyValue } = engine;
    const applied: bigint[] = [];
    const tokens = [3n, 9n, 1n, 7n, 9n, 2n, 8n, 5n];
    await Promise.all(
      tokens.map(async (token) => {
        for (let round = 0; round < 5; round++) {
          try {
            const result = await fenced(keyValue, "r", token, [
              { type: "put", key: "last", value: Buffer.from(String(token)) },
            ]);
            if (result.committed) applied.push(token);
          } catch (error) {
            assert.equal((error as { code?: string }).code, "lost");
          }
        }
      }),
    );
    assert.deepEqual(
      applied,
      [...applied].sort((a, b) => Number(a - b)),
    );
    assert.equal(applied.filter((token) => token === 9n).length, 10);
    assert.equal(await shownIn(keyValue, "last"), "9");
  }));

test("tokens of 63 bits are compared exactly, by both guards", () =>
  onMemory(async ({ engine }) => {
    const greatest = 2n ** 63n - 1n;
    const { sql } = shop();
    const fences = sqlFence(sql, { table: "fences" });
    await fences.migrate();
    const guard = (token: bigint) => sql.transaction((transaction) => fences.guard(transaction, "r", token));
    await fenced(engine.keyValue, "r", greatest, []);
    await guard(greatest);
    await guard(greatest);
    await assert.rejects(fenced(engine.keyValue, "r", greatest - 1n, []), lost);
    await assert.rejects(guard(greatest - 1n), lost);
  }));

test("the SQL guard rolls back with its transaction, and each resource has its own token", async () => {
  const { sql, state, database } = shop();
  const fences = sqlFence(sql);
  await fences.migrate();
  await fences.migrate();
  await assert.rejects(
    sql.transaction(async (transaction) => {
      await fences.guard(transaction, "refund/7", 9n);
      throw new RangeError("work failed");
    }),
    RangeError,
  );
  await sql.transaction((transaction) => fences.guard(transaction, "refund/7", 5n));
  await assert.rejects(
    sql.transaction(async (transaction) => {
      await transaction.execute("UPDATE refunds SET state = 'stale' WHERE id = 7");
      await fences.guard(transaction, "refund/7", 4n);
    }),
    lost,
  );
  assert.equal(state(), "asked");
  await sql.transaction((transaction) => fences.guard(transaction, "refund/8", 1n));
  assert.equal(database.prepare("SELECT count(*) AS count FROM tenon_fence").get()!.count, 2);
  database.close();
});

test("wrong resources, tokens and tables are refused, and what is no token is reported", () =>
  onMemory(async ({ engine }) => {
    const { sql } = shop();
    const fences = sqlFence(sql);
    await fences.migrate();
    for (const token of [0n, -1n, 2n ** 63n, 5 as unknown as bigint]) {
      await assert.rejects(fenced(engine.keyValue, "r", token, []), { code: "invalid" });
      await assert.rejects(
        sql.transaction((transaction) => fences.guard(transaction, "r", token)),
        { code: "invalid" },
      );
    }
    for (const resource of ["", "\ud800", "a\0b", "x".repeat(256)]) {
      await assert.rejects(
        sql.transaction((transaction) => fences.guard(transaction, resource, 1n)),
        { code: "invalid" },
      );
    }
    await assert.rejects(fenced(engine.keyValue, "", 1n, []), { code: "invalid" });
    assert.throws(() => sqlFence(sql, { table: "a; DROP TABLE refunds" }), { code: "invalid" });
    assert.throws(() => sqlFence({ ...sql, dialect: "oracle" as "sqlite" }), { code: "unsupported" });
    assert.match(fenceTable("mysql", "fences"), /^CREATE TABLE IF NOT EXISTS fences .*VARBINARY/);
    assert.match(fenceTable("postgres"), /tenon_fence .*BIGINT/);
    await fenced(engine.keyValue, "r", 1n, []);
    await engine.keyValue.commit([{ type: "put", key: "tenon/fence/r/token", value: Buffer.from("x") }]);
    await assert.rejects(fenced(engine.keyValue, "r", 2n, []), { code: "corrupt" });
    const capabilities = { ...engine.keyValue.capabilities, multipleKeys: false };
    const single = { ...engine.keyValue, capabilities };
    await assert.rejects(fenced(single, "r", 2n, [paid("a")]), { code: "unsupported" });
  }));
