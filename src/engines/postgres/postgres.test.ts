import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Pool, type PoolClient } from "pg";
import { engine } from "../../../test/engines.ts";
import type { SqlTransaction } from "../../contracts/sql.ts";
import { inbox } from "../../transactions/index.ts";
import { type PostgresPool, postgres } from "./index.ts";

const server = await engine("postgres");

describe("postgres", { skip: server.skip }, () => {
  const schema = `tenon_test_${process.pid}_${Math.floor(Math.random() * 1e9)}`;
  const pool = new Pool({ connectionString: server.url, max: 4, options: `-c search_path=${schema}` });
  pool.on("error", () => {});
  const sql = postgres(pool);

  before(async () => {
    await pool.query(`CREATE SCHEMA ${schema}`);
    await pool.query("CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0))");
    await pool.query("CREATE TABLE parent (id int PRIMARY KEY)");
    await pool.query("CREATE TABLE child (parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED)");
  });

  after(async () => {
    await pool.query(`DROP SCHEMA ${schema} CASCADE`);
    await pool.end();
  });

  let lastAccount = 0;
  async function account(): Promise<number> {
    lastAccount += 1;
    await pool.query("INSERT INTO account VALUES ($1, 100)", [lastAccount]);
    return lastAccount;
  }

  async function balance(id: number): Promise<number> {
    const { rows } = await pool.query("SELECT balance FROM account WHERE id = $1", [id]);
    return (rows[0] as { balance: number }).balance;
  }

  const take = "UPDATE account SET balance = balance - ? WHERE id = ?";

  test("a transaction commits when its work resolves and answers what the work answers", async () => {
    const id = await account();
    const rows = await sql.transaction(async (transaction) => {
      assert.equal(await transaction.execute(take, [30, id]), 1);
      return transaction.query("SELECT balance FROM account WHERE id = ?", [id]);
    });
    assert.deepEqual(rows, [{ balance: 70 }]);
    assert.equal(await balance(id), 70);
  });

  test("a transaction whose work rejects or throws leaves nothing, and its connection goes back to the pool", async () => {
    const id = await account();
    const few = new Pool({ connectionString: server.url, max: 1, options: `-c search_path=${schema}` });
    const alone = postgres(few);
    const failing = alone.transaction(async (transaction) => {
      await transaction.execute(take, [30, id]);
      throw new Error("changed my mind");
    });
    const throwing = alone.transaction(() => {
      throw new Error("at once");
    });
    await assert.rejects(failing, /changed my mind/);
    await assert.rejects(throwing, /at once/);
    await alone.transaction((transaction) => transaction.execute(take, [1, id]));
    assert.equal(await balance(id), 99);
    assert.deepEqual([few.totalCount, few.idleCount], [1, 1]);
    await few.end();
  });

  test("an error of a statement is the driver's own and rolls back", async () => {
    const id = await account();
    const work = async (transaction: SqlTransaction): Promise<void> => {
      await transaction.execute(take, [30, id]);
      await transaction.execute(take, [100, id]);
    };
    await assert.rejects(sql.transaction(work), { code: "23514" });
    assert.equal(await balance(id), 100);
  });

  test("a failed statement that the work ignores is told at the end: nothing was committed", async () => {
    const id = await account();
    const work = async (transaction: SqlTransaction): Promise<void> => {
      await transaction.execute(take, [30, id]);
      await assert.rejects(transaction.execute(take, [100, id]));
    };
    await assert.rejects(sql.transaction(work), { code: "conflict", outcome: "not-applied" });
    assert.equal(await balance(id), 100);
  });

  test("a deferred constraint fails the commit as not applied", async () => {
    const work = (transaction: SqlTransaction) => transaction.execute("INSERT INTO child VALUES (?)", [5]);
    await assert.rejects(sql.transaction(work), {
      code: "conflict",
      outcome: "not-applied",
      fields: { sqlState: "23503" },
    });
  });

  test("transactions run beside each other, each in its own", async () => {
    const id = await account();
    const both = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    const run = (own: number) =>
      sql.transaction(async (transaction) => {
        both[own]!.resolve();
        await both[1 - own]!.promise;
        await transaction.execute(take, [1, id]);
      });
    await Promise.all([run(0), run(1)]);
    assert.equal(await balance(id), 98);
  });

  test("two that collide: one of them is told to begin again", async () => {
    const id = await account();
    const careful = postgres(pool, { isolation: "serializable" });
    const met = [Promise.withResolvers<void>(), Promise.withResolvers<void>()] as const;
    const run = (own: number) =>
      careful.transaction(async (transaction) => {
        await transaction.query("SELECT balance FROM account WHERE id = ?", [id]);
        met[own]!.resolve();
        await met[1 - own]!.promise;
        await transaction.execute(take, [1, id]);
      });
    const results = await Promise.allSettled([run(0), run(1)]);
    const failures = results.filter((result) => result.status === "rejected");
    assert.equal(failures.length, 1);
    assert.equal(failures[0]!.reason.code, "conflict");
    assert.equal(failures[0]!.reason.outcome, "not-applied");
    assert.equal(await balance(id), 99);
  });

  test("a transaction inside a transaction is refused, also several calls deep", async () => {
    const deep = async (): Promise<void> => {
      await Promise.resolve();
      await sql.transaction(() => {});
    };
    await assert.rejects(
      sql.transaction(() => deep()),
      { code: "conflict", message: /inside a transaction/ },
    );
  });

  test("a statement after the end is refused", async () => {
    let kept: SqlTransaction | undefined;
    await sql.transaction((transaction) => {
      kept = transaction;
    });
    await assert.rejects(kept!.execute("SELECT 1"), { code: "closed" });
    await assert.rejects(kept!.query("SELECT 1"), { code: "closed" });
  });

  test("values come back as they do from SQLite", async () => {
    const bytes = Uint8Array.of(0, 255, 39, 92);
    const [row] = await sql.transaction((transaction) =>
      transaction.query(
        `SELECT ?::bigint AS small, ?::bigint AS large, ?::bytea AS bytes, ?::text AS text, ?::float8 AS half, ?::int AS nothing,
                true AS yes, false AS no, 1.50::numeric AS exact, count(*) AS counted FROM account WHERE id = -1`,
        [7, 2n ** 62n, bytes.subarray(1), "it's ?", 0.5, null],
      ),
    );
    assert.deepEqual(
      { ...row, bytes: [...(row!.bytes as Uint8Array)] },
      {
        small: 7,
        large: 2n ** 62n,
        bytes: [255, 39, 92],
        text: "it's ?",
        half: 0.5,
        nothing: null,
        yes: 1,
        no: 0,
        exact: "1.50",
        counted: 0,
      },
    );
  });

  /** The pool, with one command of its connections done otherwise. */
  function altered(
    command: string,
    instead: (client: PoolClient, ask: () => Promise<never>) => Promise<never>,
  ): PostgresPool {
    return {
      get ended() {
        return pool.ended;
      },
      async connect() {
        const client = await pool.connect();
        return {
          query: (query) => {
            const ask = (): Promise<never> => client.query(query) as unknown as Promise<never>;
            return query.text === command ? instead(client, ask) : ask();
          },
          on: (event, listener) => client.on(event, listener),
          removeListener: (event, listener) => client.removeListener(event, listener),
          release: (destroy) => client.release(destroy),
        };
      },
    };
  }

  function cut(client: PoolClient): void {
    (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  }

  test("a commit whose reply is lost has an unknown outcome", async () => {
    const id = await account();
    const losing = altered("COMMIT", (client, ask) => {
      const asked = ask();
      cut(client);
      return asked;
    });
    await assert.rejects(
      postgres(losing).transaction((transaction) => transaction.execute(take, [1, id])),
      { code: "unavailable", outcome: "unknown" },
    );
    assert.ok([99, 100].includes(await balance(id)));
  });

  test("a connection that is lost during the work fails the transaction and is not lent again; nothing is left unhandled", async () => {
    const id = await account();
    const work = async (transaction: SqlTransaction): Promise<void> => {
      await transaction.execute(take, [30, id]);
      const [own] = await transaction.query("SELECT pg_backend_pid() AS pid");
      await pool.query("SELECT pg_terminate_backend($1)", [own!.pid]);
      await transaction.query("SELECT 1");
    };
    await assert.rejects(sql.transaction(work));
    assert.equal(await balance(id), 100);
    await sql.transaction((transaction) => transaction.execute(take, [1, id]));
    assert.equal(await balance(id), 99);
  });

  test("without a server it is unavailable, after the pool's end closed; nothing was begun", async () => {
    const nobody = new Pool({ host: "127.0.0.1", port: 1, connectionTimeoutMillis: 2_000 });
    await assert.rejects(
      postgres(nobody).transaction(() => {}),
      { code: "unavailable", outcome: "not-applied" },
    );
    await nobody.end();
    await assert.rejects(
      postgres(nobody).transaction(() => {}),
      { code: "closed", outcome: "not-applied" },
    );
  });

  test("a wrong isolation is invalid", () => {
    assert.throws(() => postgres(pool, { isolation: "chaos" as "serializable" }), { code: "invalid" });
  });

  test("an inbox records once, also when two ask at the same time, and cleans up", async () => {
    let now = 1_000_000;
    const clock = { now: () => now, monotonic: () => now };
    const { systemWorld } = await import("../../world/index.ts");
    const handled = inbox(sql, { consumer: "billing", keepMs: 1_000, world: { ...systemWorld(), clock } });
    await Promise.all([handled.migrate(), handled.migrate()]);
    const record = () => sql.transaction((transaction) => handled.once(transaction, "m-1"));
    assert.deepEqual((await Promise.all([record(), record(), record()])).sort(), [false, false, true]);
    await assert.rejects(
      sql.transaction(async (transaction) => {
        await handled.once(transaction, "m-2");
        throw new Error("the effect failed");
      }),
    );
    assert.equal(await sql.transaction((transaction) => handled.once(transaction, "m-2")), true);
    now += 2_000;
    assert.equal(await sql.transaction((transaction) => handled.clean(transaction)), 2);
    assert.equal(await record(), true);
  });
});
