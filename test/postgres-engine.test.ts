/** What engines in tables have in common, on PostgreSQL, and what is PostgreSQL's own. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Client } from "pg";
import type { Lease } from "tenon/contracts";
import { text, topic } from "tenon/messaging";
import { postgresEngine, postgresTables } from "tenon/postgres";
import { engine as find } from "./engines.ts";
import { dropTables } from "./postgres-host.ts";
import { keepAlive } from "./server-suites.ts";
import { type LostStatement, opening, type TableServer, tableEngineCases } from "./table-engine-cases.ts";
import { tableLeaseCases } from "./table-lease-cases.ts";
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

/** Writes down what it is asked, by the names of statements of messages, or the first words; what is asked while an answer is missing stands with what was asked before. */
class WatchedClient extends Client {
  readonly roundTrips: string[] = [];
  #unanswered = 0;

  // biome-ignore lint/suspicious/noExplicitAny: the client's own overloads
  override query(query: any): any {
    const word = query.name?.split("_m_")[1] ?? query.text.trimStart().split(/\s/)[0];
    if (this.#unanswered === 0) this.roundTrips.push(word);
    else this.roundTrips.push(`${this.roundTrips.pop()}+${word}`);
    this.#unanswered += 1;
    return super.query(query).finally(() => {
      this.#unanswered -= 1;
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

const postgres = (pipeline: boolean): TableServer => ({
  open: (prefix, options) =>
    postgresEngine({ prefix, ...options, connect: () => new FaultyClient({ connectionString: server.url, pipeline }) }),
  openWithout: () => postgresEngine({ connect: () => ({}) as Client }),
  lose(lost) {
    FaultyClient.next = lost;
    return () => FaultyClient.next === undefined;
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
  // What changes keys is sent together with the commit by a client that pipelines.
  beforeCommit: pipeline ? "FOR UPDATE" : "INSERT INTO",
  settlement: "SET low",
  leaseWrite: "float8send",
  appendNext: "substr($15",
  keepingFew: (prefix) => `ALTER TABLE ${prefix}_partitions ADD CONSTRAINT few CHECK (next < 5)`,
  refusing: (prefix) => `ALTER TABLE ${prefix}_key_values ADD CHECK (value <> 'secret')`,
});

const open = opening(postgres(false));

describe("the PostgreSQL engine by a client that pipelines", { skip: server.skip }, () => {
  tableEngineCases(postgres(true));
  tableLeaseCases(postgres(true));
});

describe("the PostgreSQL engine", { skip: server.skip }, () => {
  tableEngineCases(postgres(false));
  tableLeaseCases(postgres(false));

  for (const { pipeline, roundTrips } of [
    { pipeline: false, roundTrips: ["BEGIN", "lock_partition", "marks", "append", "COMMIT"] },
    { pipeline: true, roundTrips: ["BEGIN+lock_partition+marks", "append+COMMIT"] },
  ]) {
    const how = pipeline ? "pipelines" : "waits for each answer";
    test(`a client that ${how} appends in ${roundTrips.length} round trips, and in one when nobody else has since`, async (t) => {
      const prefix = testPrefix();
      const clients: WatchedClient[] = [];
      const connect = () => {
        const client = new WatchedClient({ connectionString: server.url, pipeline });
        clients.push(client);
        return client;
      };
      const engine = await postgresEngine({ connect, prefix, tables: "make" });
      t.after(async () => {
        await engine.close();
        await dropTables(server.url, prefix);
      });
      const news = topic(engine, "news", { codec: text(), partitions: 1, groups: ["readers"] });
      t.after(() => news.close());
      await news.publish("first");
      const all = clients.flatMap((client) => client.roundTrips).join(" ");
      assert.ok(all.includes(roundTrips.join(" ")), all);
      assert.equal(all.includes("+"), pipeline, all);
      await news.publish("second");
      const appends = clients.flatMap((client) => client.roundTrips).filter((asked) => asked.startsWith("append"));
      assert.deepEqual(appends, [roundTrips.find((asked) => asked.startsWith("append")), "append_next"]);
    });
  }

  for (const { pipeline, acquired } of [
    { pipeline: false, acquired: ["BEGIN", "INSERT", "SELECT", "WITH", "COMMIT"] },
    { pipeline: true, acquired: ["BEGIN+INSERT+UPDATE+COMMIT"] },
  ]) {
    const how = pipeline ? "pipelines" : "waits for each answer";
    test(`a client that ${how} acquires in ${acquired.length} round trips, and releases, renews and hands over in one`, async (t) => {
      const prefix = testPrefix();
      const clients: WatchedClient[] = [];
      const connect = () => {
        const client = new WatchedClient({ connectionString: server.url, pipeline });
        clients.push(client);
        return client;
      };
      const engine = await postgresEngine({ connect, prefix, tables: "make", connectionsMax: 1 });
      t.after(async () => {
        await engine.close();
        await dropTables(server.url, prefix);
      });
      const { leases } = engine;
      const request = (holder: string) => ({ holder, ttlMs: 60_000, waitMs: 60_000 });
      const asked = async (work: () => Promise<unknown>) => {
        clients[0]!.roundTrips.length = 0;
        await work();
        return [...clients[0]!.roundTrips];
      };
      // With the first acquisition the engine begins to listen, and looks for leases that have ended.
      await leases.acquire("other", request("a"));
      await leases.release("other", "a");
      let lease: Lease | undefined;
      const acquires = async () => {
        lease = await leases.acquire("name", request("a"));
      };
      assert.deepEqual(await asked(acquires), acquired);
      assert.deepEqual(await asked(() => leases.renew(lease!)), ["UPDATE"]);
      let next: Promise<unknown> | undefined;
      const waits = async () => {
        next = leases.acquire("name", request("b"));
        while ((await leases.describe("name")).waiting === 0);
      };
      const looks = (each: string) => each === "SELECT";
      assert.deepEqual(
        (await asked(waits)).filter((each) => !looks(each)),
        ["UPDATE"],
      );
      const handsOver = async () => {
        await Promise.all([leases.release("name", "a"), next]);
      };
      assert.deepEqual(await asked(handsOver), ["UPDATE"]);
      assert.deepEqual(await asked(() => leases.release("name", "b")), ["DELETE"]);
      // The row of a name that is used again and again stays.
      await acquires();
      assert.deepEqual(await asked(() => leases.release("name", "a")), ["UPDATE"]);
      assert.deepEqual(await asked(acquires), ["UPDATE"]);
    });
  }

  test("a name that is taken and given back again and again stays where the indexes have it", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    const ends = new Set<unknown>();
    const knownAfter = 3;
    for (let hold = 0; hold < 20; hold++) {
      await engine.leases.acquire("name", { holder: `${hold}`, ttlMs: 30_000, waitMs: 0 });
      const { rows } = await direct((client) => client.query(`SELECT ends_at FROM ${prefix}_leases`));
      await engine.leases.release("name", `${hold}`);
      if (hold >= knownAfter) ends.add(rows[0].ends_at);
    }
    assert.equal(ends.size, 1);
  });

  test("a row lasts for at least as long as its lease, however much shorter the one before was", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    for (const ttlMs of [1_000, 1_000, 1_000, 100_000, 10_000_000, 1_000]) {
      await engine.leases.acquire("name", { holder: "a", ttlMs, waitMs: 0 });
      const [described] = (await engine.leases.describe("name")).holders;
      const { rows } = await direct((client) => client.query(`SELECT ends_at FROM ${prefix}_leases`));
      const spareMs = rows[0].ends_at - described!.expiresAt;
      assert.ok(spareMs >= 0 && spareMs <= 600_000, `${spareMs} ms more than ${ttlMs}`);
      await engine.leases.release("name", "a");
    }
  });

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
