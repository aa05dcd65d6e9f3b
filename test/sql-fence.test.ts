import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import pg from "pg";
import { sqlFence } from "tenon/coordination";
import { postgres } from "tenon/postgres";
import { engine } from "./engines.ts";

const server = await engine("postgres");
const pool = new pg.Pool({ connectionString: server.urls[0], max: 4 });
const table = `fence_${randomUUID().slice(0, 8)}`;
after(async () => {
  if (server.skip === false) await pool.query(`DROP TABLE IF EXISTS ${table}`);
  await pool.end();
});

test("on PostgreSQL a stale token is refused, and whoever comes meanwhile waits for the guarded transaction to end", {
  skip: server.skip,
}, async () => {
  const sql = postgres(pool);
  const fences = sqlFence(sql, { table });
  await fences.migrate();
  await fences.migrate();
  const guard = (token: bigint) => sql.transaction((transaction) => fences.guard(transaction, "refund/7", token));
  const stale = { code: "lost", outcome: "not-applied" };
  await guard(5n);
  await guard(5n);
  await assert.rejects(guard(4n), stale);

  const order: string[] = [];
  const guarded = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const next = sql.transaction(async (transaction) => {
    await fences.guard(transaction, "refund/7", 6n);
    guarded.resolve();
    await asked.promise;
    // What was sent before this statement has reached the server, and waits for our row.
    await transaction.query("SELECT pg_sleep(0.05)");
    order.push("the new holder commits");
  });
  await guarded.promise;
  const old = assert.rejects(guard(5n), stale).then(() => order.push("the old one is refused"));
  asked.resolve();
  await Promise.all([next, old]);
  assert.deepEqual(order, ["the new holder commits", "the old one is refused"]);

  const greatest = 2n ** 63n - 1n;
  await guard(greatest);
  await assert.rejects(guard(greatest - 1n), stale);
});
