/** What engines in tables have in common, on MariaDB, and what is MySQL's own. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Connection, createConnection, createPool, type RowDataPacket } from "mysql2/promise";
import { mysqlEngine, mysqlTables } from "tenon/mysql";
import { engine as find } from "./engines.ts";
import { direct, dropTables, dropUser, endSessions, makeUser, streamOf } from "./mysql-host.ts";
import { keepAlive } from "./server-suites.ts";
import { type LostStatement, opening, type TableServer, tableEngineCases } from "./table-engine-cases.ts";
import { tableLeaseCases } from "./table-lease-cases.ts";
import { testPrefix } from "./test-prefix.ts";

keepAlive();

const server = await find("mariadb");

let lost: LostStatement | undefined;

type Asked = { sql: string };
type Ask = (query: Asked) => Promise<unknown>;

/** A client that does something else than asked, for some statements. */
async function clientThat(
  instead: (client: Connection, asked: Asked, ask: Ask) => Promise<unknown>,
): Promise<Connection> {
  const client = await createConnection(server.url);
  const altered = (["query", "execute"] as const).map((name) => {
    const ask = client[name].bind(client) as Ask;
    return [name, (asked: Asked) => instead(client, asked, ask)];
  });
  return Object.assign(client, Object.fromEntries(altered));
}

/** A client that can lose its connection just before or just after a statement is sent. */
function faultyClient(): Promise<Connection> {
  return clientThat(async (client, asked, ask) => {
    const next = lost;
    if (next === undefined || !asked.sql.includes(next.statement)) return ask(asked);
    lost = undefined;
    if (next.when === "after") await ask(asked);
    streamOf(client).destroy();
    return new Promise(() => undefined);
  });
}

const mysql: TableServer = {
  open: (prefix, options) => mysqlEngine({ prefix, ...options, connect: faultyClient }),
  openWithout: () => mysqlEngine({ connect: async () => ({}) as Connection }),
  lose(next) {
    lost = next;
    return () => lost === undefined;
  },
  async direct(...statements) {
    await direct(server.url, async (client) => {
      for (const statement of statements) await client.query(statement);
    });
  },
  async holding(statement, work) {
    await direct(server.url, async (client) => {
      await client.beginTransaction();
      await client.query(statement);
      await work();
      await client.rollback();
    });
  },
  drop: (prefix) => dropTables(server.url, prefix),
  tables: (prefix, from) =>
    mysqlTables(prefix, from)
      .split(";\n")
      .filter((statement) => statement.trim() !== ""),
  quietCommit: (prefix, key) => [
    "START TRANSACTION",
    `UPDATE ${prefix}_meta SET value = value + 1 WHERE name = 'version'`,
    `INSERT INTO ${prefix}_key_values (\`key\`, value, version, size) SELECT '${key}', '1', value, 1 FROM ${prefix}_meta WHERE name = 'version'`,
    "COMMIT",
  ],
  beforeCommit: "INSERT INTO",
  settlement: "SET low",
  leaseWrite: "COMMIT",
  appendNext: "NOT ATOMIC",
  keepingFew: (prefix) => `ALTER TABLE ${prefix}_partitions ADD CONSTRAINT few CHECK (\`next\` < 5)`,
  refusing: (prefix) =>
    `ALTER TABLE ${prefix}_key_values ADD CHECK (value <> X'${Buffer.from("secret").toString("hex")}')`,
};

const open = opening(mysql);

describe("the MySQL engine", { skip: server.skip }, () => {
  tableEngineCases(mysql);
  tableLeaseCases(mysql);

  test("says what the server's settings mean", async (t) => {
    const engine = await open(t);
    const settings = engine.requirements.map(({ setting }) => setting);
    for (const name of ["version", "max_allowed_packet", "innodb_flush_log_at_trx_commit", "max_connections"]) {
      assert.ok(settings.includes(name), name);
    }
    assert.equal(engine.keyValue.capabilities.survives, "machine");
    await assert.rejects(open(t, { survives: "replicas" }), { code: "invalid", message: /semi-synchronous/ });
  });

  test("takes connections of a pool, whatever the pool's own settings are, and gives none back", async (t) => {
    const prefix = testPrefix();
    const odd = { dateStrings: true, rowsAsArray: true, decimalNumbers: false, timezone: "+09:00" };
    const settings = { ...odd, supportBigNumbers: true, bigNumberStrings: true, flags: ["-FOUND_ROWS"] };
    const pool = createPool({ uri: server.url, connectionLimit: 10, typeCast: false, ...settings });
    t.after(() => pool.end());
    const engine = await mysqlEngine({ connect: () => pool.getConnection(), prefix, tables: "make" });
    t.after(() => dropTables(server.url, prefix));
    await engine.messages.declare("news", { partitions: 1, groups: ["readers"] });
    const batch = { topic: "news", partition: 0, messages: [{ body: Buffer.from("x") }] };
    assert.deepEqual(await engine.messages.append(batch), [0n]);
    const lease = await engine.leases.acquire("name", { holder: "me", ttlMs: 10_000, waitMs: 0 });
    assert.ok(lease !== undefined && lease.token > 0n);
    await engine.close();
    const [rows] = await pool.query<never[]>("SELECT @@sql_mode LIKE '%ANSI_QUOTES%'");
    assert.equal(String(rows[0]![0]), "0");
  });

  for (const [what, refused, blocks] of [
    ["one request", undefined, ["prepared"]],
    [
      "one request as text where the server prepares no more statements",
      { errno: 1461, of: "?" },
      ["prepared", "text"],
    ],
    ["a transaction where the server knows no blocks", { errno: 1064, of: "" }, []],
  ] as const) {
    test(`an append is ${what}`, async (t) => {
      const prefix = testPrefix();
      const asked: string[] = [];
      let isOpen = false;
      const connect = () =>
        clientThat(async (_, query, ask) => {
          const { sql } = query;
          asked.push(sql);
          const applies = refused?.errno === 1064 || isOpen;
          if (refused === undefined || !applies || !sql.includes("NOT ATOMIC") || !sql.includes(refused.of))
            return ask(query);
          throw Object.assign(new Error("refused"), { errno: refused.errno, sqlState: "42000" });
        });
      const engine = await mysqlEngine({ connect, prefix, tables: "make", connectionsMax: 1 });
      t.after(async () => {
        await engine.close();
        await dropTables(server.url, prefix);
      });
      isOpen = true;
      await engine.messages.declare("news", { partitions: 1, groups: ["readers"] });
      const append = (sequence: number) => {
        const messages = [{ body: Buffer.from("a question?") }];
        return engine.messages.append({
          topic: "news",
          partition: 0,
          messages,
          producer: { id: "p", epoch: 0, sequence },
        });
      };
      assert.deepEqual(await append(0), [0n]);
      asked.length = 0;
      assert.deepEqual([await append(1), await append(2)], [[1n], [2n]]);
      const found = asked.flatMap((sql) =>
        sql.includes("NOT ATOMIC") ? (sql.includes("?") ? "prepared" : "text") : [],
      );
      assert.deepEqual(found, [...blocks, ...blocks]);
      const isPlain = asked.some((sql) => sql.startsWith("INSERT") && sql.includes(`${prefix}_runs`));
      assert.equal(isPlain, blocks.length === 0);
    });
  }

  test("values keep to one request, however many and large they are", async (t) => {
    const engine = await open(t);
    const value = Buffer.alloc(3 * 1024 * 1024, 0xa5);
    const keys = ["a", "b", "c", "d"];
    await engine.keyValue.commit(keys.map((key) => ({ type: "put" as const, key, value })));
    const entries = await engine.keyValue.scan("");
    assert.deepEqual(
      entries.map((entry) => [entry.key, value.equals(entry.value)]),
      keys.map((key) => [key, true]),
    );
  });

  test("keys are kept apart and in order by their UTF-16 code units, whatever the collation", async (t) => {
    const engine = await open(t);
    const keys = ["A", "a", "a ", "a\u0000", "ä", "\u{1f600}", "\uff21"];
    for (const key of keys) await engine.keyValue.commit([{ type: "put", key, value: Buffer.from(key) }]);
    const found = (await engine.keyValue.scan("")).map(({ key }) => key);
    assert.deepEqual(found, [...keys].sort());
  });

  test("goes on with another session when the server has ended one", async (t) => {
    const prefix = testPrefix();
    await makeUser(server.url, prefix);
    t.after(() => dropUser(server.url, prefix));
    const own = new URL(server.url);
    own.username = prefix;
    const engine = await mysqlEngine({ connect: () => createConnection(own.href), prefix, tables: "make" });
    t.after(async () => {
      await engine.close();
      await dropTables(server.url, prefix);
    });
    await endSessions(server.url, prefix);
    // The server has said so before the next statement, or in its place.
    const first = await engine.keyValue.get(["k"]).catch((error: unknown) => error);
    if (first instanceof Error) assert.ok("outcome" in first && first.outcome === "not-applied");
    assert.deepEqual(await engine.keyValue.get(["k"]), [undefined]);
  });

  test("a transaction that the server rolled back in a deadlock is repeated", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    const rule = { type: "fixedWindow", limit: 10, windowMs: 600_000 } as const;
    const ask = () => Promise.all(["one", "two"].map((key) => engine.rates.decide(key, rule, 1)));
    await ask();
    await direct(server.url, async (client) => {
      await client.beginTransaction();
      // Who has changed less is the victim.
      await client.query(`INSERT INTO ${prefix}_fences (id) VALUES ${Array(500).fill("(NULL)").join(", ")}`);
      const lock = `SELECT * FROM ${prefix}_rates WHERE \`key\` = ? FOR UPDATE`;
      await client.query(lock, ["ftwo"]);
      const asked = ask();
      await untilSomebodyWaits(client);
      await client.query(lock, ["fone"]);
      await client.commit();
      const decisions = await asked;
      assert.deepEqual(
        decisions.map(({ remaining }) => remaining),
        [8, 8],
      );
    });
  });
});

async function untilSomebodyWaits(client: Connection): Promise<void> {
  const text = "SELECT COUNT(*) AS count FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
  // The server looks anew only when nobody has asked for a tenth of a second.
  for (;;) {
    const [[row]] = await client.query<RowDataPacket[]>(text);
    if (row!.count > 0) return;
    await sleep(150);
  }
}
