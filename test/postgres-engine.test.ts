/** What engines in tables have in common, on PostgreSQL, and what is PostgreSQL's own. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Client } from "pg";
import { postgresEngine, postgresTables } from "tenon/postgres";
import { engine as find } from "./engines.ts";
import { dropTables } from "./postgres-host.ts";
import { keepAlive } from "./server-suites.ts";
import { type LostStatement, opening, type TableServer, tableEngineCases } from "./table-engine-cases.ts";
import { testPrefix } from "./test-prefix.ts";

keepAlive();

const server = await find("postgres");

/** A client that can lose its connection just before or just after a statement is sent. */
class FaultyClient extends Client {
  static next: LostStatement | undefined;

  // biome-ignore lint/suspicious/noExplicitAny: the client's own overloads
  override query(query: any): any {
    const { next } = FaultyClient;
    const statement = typeof query === "string" ? query : query.text;
    if (next === undefined || !statement.includes(next.statement)) return super.query(query);
    FaultyClient.next = undefined;
    const cut = () => (this as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    if (next.when === "before") {
      cut();
      return new Promise(() => undefined);
    }
    return super.query(query).then(() => {
      cut();
      return new Promise(() => undefined);
    });
  }
}

async function direct<T>(work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: server.url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const postgres: TableServer = {
  open: (prefix, options) =>
    postgresEngine({ prefix, ...options, connect: () => new FaultyClient({ connectionString: server.url }) }),
  openWithout: () => postgresEngine({ connect: () => ({}) as Client }),
  lose(lost) {
    FaultyClient.next = lost;
  },
  async direct(...statements) {
    await direct(async (client) => {
      for (const statement of statements) await client.query(statement);
    });
  },
  async holding(statement, work) {
    await direct(async (client) => {
      await client.query("BEGIN");
      await client.query(statement);
      await work();
      await client.query("ROLLBACK");
    });
  },
  drop: (prefix) => dropTables(server.url, prefix),
  tables: (prefix, from) => [postgresTables(prefix, from)],
  quietCommit: (prefix, key) => [
    `WITH m AS (UPDATE ${prefix}_meta SET value = value + 1 WHERE name = 'version' RETURNING value)
     INSERT INTO ${prefix}_key_values (key, value, version) SELECT '${key}'::bytea, '1'::bytea, value FROM m`,
  ],
  settlement: "SET low",
  refusing: (prefix) => `ALTER TABLE ${prefix}_key_values ADD CHECK (value <> 'secret')`,
};

const open = opening(postgres);

describe("the PostgreSQL engine", { skip: server.skip }, () => {
  tableEngineCases(postgres);

  test("says what the server's settings mean", async (t) => {
    const engine = await open(t);
    const settings = engine.requirements.map(({ setting }) => setting);
    assert.ok(
      ["server_version", "fsync", "synchronous_commit", "max_connections"].every((name) => settings.includes(name)),
    );
    assert.equal(engine.keyValue.capabilities.survives, "machine");
    await assert.rejects(open(t, { survives: "replicas" }), { code: "invalid", message: /synchronous_standby_names/ });
  });

  test("turns synchronous_commit on in its sessions where it is off", async (t) => {
    const prefix = testPrefix();
    const connect = () => new Client({ connectionString: server.url, options: "-c synchronous_commit=off" });
    const engine = await postgresEngine({ connect, prefix, tables: "make" });
    t.after(async () => {
      await engine.close();
      await dropTables(server.url, prefix);
    });
    assert.equal(engine.requirements.find(({ setting }) => setting === "synchronous_commit")?.value, "on");
  });
});
