/** What is PostgreSQL's own: settings, tables, lost replies, locks that others hold, notices that get lost. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { Client } from "pg";
import { type KeyValueChange, TenonError } from "tenon/contracts";
import { text, topic } from "tenon/messaging";
import { type PostgresEngineOptions, postgresEngine, postgresTables } from "tenon/postgres";
import { engine as find } from "./engines.ts";
import { dropTables } from "./postgres-host.ts";
import { testPrefix } from "./test-prefix.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await find("postgres");

/** A client that can lose its connection just before or just after a statement is sent. */
class FaultyClient extends Client {
  static next: { readonly statement: string; readonly when: "before" | "after" } | undefined;

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

async function open(t: TestContext, options: Partial<PostgresEngineOptions> = {}, prefix = testPrefix()) {
  const connect = () => new FaultyClient({ connectionString: server.url });
  const engine = await postgresEngine({ connect, prefix, tables: "make", connectionsMax: 2, ...options });
  t.after(async () => {
    await engine.close();
    await dropTables(server.url, prefix);
  });
  return engine;
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

const add: KeyValueChange = { type: "add", key: "count", by: 1 };

async function count({ keyValue }: { readonly keyValue: Awaited<ReturnType<typeof open>>["keyValue"] }) {
  const [entry] = await keyValue.get(["count"]);
  return entry && Buffer.from(entry.value).toString();
}

describe("the PostgreSQL engine", { skip: server.skip }, () => {
  test("makes no tables unless it is told to, and says what to do", async () => {
    const connect = () => new Client({ connectionString: server.url });
    await assert.rejects(postgresEngine({ connect, prefix: testPrefix() }), {
      code: "not-found",
      message: /tables: "make"/,
    });
  });

  test("works on tables that were made by hand, and refuses those of another version", async (t) => {
    const prefix = testPrefix();
    await direct((client) => client.query(postgresTables(prefix)));
    const engine = await open(t, { tables: "expect" }, prefix);
    await engine.keyValue.commit([add]);
    await direct((client) => client.query(`UPDATE ${prefix}_meta SET value = 99 WHERE name = 'tables'`));
    const connect = () => new Client({ connectionString: server.url });
    await assert.rejects(postgresEngine({ connect, prefix }), {
      code: "conflict",
      fields: { version: "99", needed: 1 },
    });
  });

  test("engines that start together make the tables once", async (t) => {
    const prefix = testPrefix();
    const engines = await Promise.all([open(t, {}, prefix), open(t, {}, prefix), open(t, {}, prefix)]);
    for (const engine of engines) await engine.keyValue.commit([add]);
    assert.equal(await count(engines[0]!), "3");
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

  test("refuses options that make no sense", async () => {
    const connect = () => new Client({ connectionString: server.url });
    const wrong: readonly Partial<PostgresEngineOptions>[] = [
      { prefix: "no-dashes" },
      { prefix: "a; DROP TABLE b" },
      { connectionsMax: 0 },
      { commandTimeoutMs: Number.NaN },
      { tables: "drop" as "make" },
      { connect: () => ({}) as Client },
    ];
    for (const options of wrong) await assert.rejects(postgresEngine({ connect, ...options }), { code: "invalid" });
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

  test("does a commit once whose reply was lost, and says that nobody knows", async (t) => {
    const engine = await open(t);
    FaultyClient.next = { statement: "COMMIT", when: "after" };
    await assert.rejects(engine.keyValue.commit([add]), { code: "unavailable", outcome: "unknown" });
    assert.equal(await count(engine), "1");
  });

  test("does nothing of a commit whose connection broke before its end, and says so", async (t) => {
    const engine = await open(t);
    FaultyClient.next = { statement: "INSERT INTO", when: "after" };
    await assert.rejects(engine.keyValue.commit([add]), { code: "unavailable", outcome: "not-applied" });
    assert.equal(await count(engine), undefined);
  });

  test("stores a message once whose first reply was lost", async (t) => {
    const engine = await open(t);
    const news = topic(engine, "news", { codec: text(), partitions: 1, groups: ["readers"] });
    t.after(() => news.close());
    const first = await news.publish("first");
    FaultyClient.next = { statement: "COMMIT", when: "after" };
    const second = await news.publish("second");
    assert.equal(second.position, first.position! + 1n);
    assert.equal((await news.lag("readers")).messages, 2);
  });

  test("a settlement whose reply was lost is repeated, and a message is handled once", async (t) => {
    const engine = await open(t);
    const news = topic(engine, "news", { codec: text(), partitions: 1, groups: ["readers"] });
    t.after(() => news.close());
    const handled: string[] = [];
    const done = Promise.withResolvers<void>();
    const consumer = await news.consume("readers", (value) => {
      if (value === "first") FaultyClient.next = { statement: "SET low", when: "after" };
      handled.push(value);
      if (value === "second") done.resolve();
    });
    await news.publish("first");
    await news.publish("second");
    await done.promise;
    await consumer.close();
    assert.deepEqual(handled, ["first", "second"]);
    assert.equal((await news.lag("readers")).messages, 0);
  });

  test("gives up in time what waits for a lock that somebody holds, and nothing of it happens", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, { commandTimeoutMs: 500 }, prefix);
    await engine.keyValue.commit([add]);
    await direct(async (client) => {
      await client.query("BEGIN");
      await client.query(`SELECT * FROM ${prefix}_meta FOR UPDATE`);
      await assert.rejects(engine.keyValue.commit([add]), { code: "unavailable", outcome: "not-applied" });
      await client.query("ROLLBACK");
    });
    await engine.keyValue.commit([add]);
    assert.equal(await count(engine), "2");
  });

  test("shows a change although the connection that listens has gone deaf", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    const seen: string[] = [];
    const synced = Promise.withResolvers<void>();
    const changed = Promise.withResolvers<void>();
    const watching = (async () => {
      for await (const event of engine.keyValue.watch("", { signal: engine.ended })) {
        if (event.type === "synced") synced.resolve();
        if (event.type !== "put") continue;
        seen.push(event.entry.key);
        changed.resolve();
      }
    })();
    await synced.promise;
    // As another engine would, but without a notice.
    await direct(async (client) => {
      const version = `UPDATE ${prefix}_meta SET value = value + 1 WHERE name = 'version' RETURNING value`;
      const { rows } = await client.query(version);
      const values = [Buffer.from("quiet"), Buffer.from("1"), rows[0].value];
      await client.query(`INSERT INTO ${prefix}_key_values (key, value, version) VALUES ($1, $2, $3)`, values);
    });
    await changed.promise;
    await engine.close();
    await watching;
    assert.deepEqual(seen, ["quiet"]);
  });

  test("names and ids may hold what the server's text cannot", async (t) => {
    const engine = await open(t);
    const odd = "a\u0000b\u{1f600}'\"\\";
    await engine.messages.declare(odd, { partitions: 1, groups: [odd] });
    const producer = { id: odd, epoch: 0, sequence: 0 };
    const message = { body: Buffer.from("x"), id: odd, key: odd };
    const batch = { topic: odd, partition: 0, messages: [message], producer };
    assert.deepEqual(await engine.messages.append(batch), [0n]);
    assert.deepEqual(await engine.messages.append(batch), [0n]);
    const lease = await engine.leases.acquire(odd, { holder: odd, ttlMs: 10_000, waitMs: 0, data: odd });
    assert.equal((await engine.leases.describe(odd)).holders[0]!.data, odd);
    await engine.leases.release(odd, lease!.holder);
    const rule = { type: "fixedWindow", limit: 1, windowMs: 60_000 } as const;
    assert.ok((await engine.rates.decide(odd, rule, 1)).allowed);
    await engine.keyValue.commit([{ type: "put", key: odd, value: Buffer.from("x") }]);
    assert.equal((await engine.keyValue.scan("a\u0000"))[0]!.key, odd);
  });

  test("errors hold no values", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    await direct((client) => client.query(`ALTER TABLE ${prefix}_key_values ADD CHECK (value <> 'secret')`));
    const change: KeyValueChange = { type: "put", key: "k", value: Buffer.from("secret") };
    await assert.rejects(engine.keyValue.commit([change]), (error) => {
      assert.ok(error instanceof TenonError);
      assert.equal(error.outcome, "not-applied");
      assert.ok(!JSON.stringify([error.message, error.fields, String(error.cause)]).includes("secret"));
      return true;
    });
  });
});
