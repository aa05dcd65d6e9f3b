/** What engines in tables have in common beyond the contracts: tables, options, lost replies, locks that others hold, notices that get lost. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type KeyValueChange, TenonError } from "tenon/contracts";
import { text as texts, topic } from "tenon/messaging";
import type { MysqlEngine, MysqlEngineOptions } from "tenon/mysql";
import type { PostgresEngine, PostgresEngineOptions } from "tenon/postgres";
import type { BatchRefusal } from "../src/engines/lanes/index.ts";
import { closedAfter } from "./closed-after.ts";
import { sealWhileOthersAppend } from "./seal-races.ts";
import { testPrefix } from "./test-prefix.ts";

export type TableEngine = PostgresEngine | MysqlEngine;
export type TableOptions = Omit<Partial<PostgresEngineOptions & MysqlEngineOptions>, "connect">;

/** Loses a connection just before or just after a statement is sent that has this in it. */
export interface LostStatement {
  readonly statement: string;
  readonly when: "before" | "after";
}

export interface TableServer {
  /** Opens an engine whose clients break as `lose` says. */
  open(prefix: string, options: TableOptions): Promise<TableEngine>;
  /** Opens one whose `connect` answers what is no client. */
  openWithout(): Promise<TableEngine>;
  /** The next statement that is lost, of any engine; answers whether it has been. */
  lose(lost: LostStatement): () => boolean;
  /** Carries out statements one after the other in one session. */
  direct(...statements: readonly string[]): Promise<void>;
  /** As a transaction that stays open while `work` is done. */
  holding(statement: string, work: () => Promise<void>): Promise<void>;
  drop(prefix: string): Promise<void>;
  /** The statements that make the tables, or bring those of a version up to date. */
  tables(prefix: string, from?: number): readonly string[];
  /** Another engine's commit of a key, without a notice where there are any. */
  quietCommit(prefix: string, key: string): readonly string[];
  /** How the last statement of a commit of keys is told that is answered before the server is asked to commit. */
  readonly beforeCommit: string;
  /** How a settlement of a lane is told from other statements. */
  readonly settlement: string;
  /** How the last statement of a change of a lease is told that somebody holds then. */
  readonly leaseWrite: string;
  /** How an append is told that is one request. */
  readonly appendNext: string;
  /** From then on a partition holds fewer than five messages. */
  keepingFew(prefix: string): string;
  /** Refuses the value `secret`. */
  refusing(prefix: string): string;
}

const add: KeyValueChange = { type: "add", key: "count", by: 1 };

async function count({ keyValue }: TableEngine) {
  const [entry] = await keyValue.get(["count"]);
  return entry && Buffer.from(entry.value).toString();
}

interface Refused {
  /** What another process does meanwhile. */
  readonly meanwhile?: (other: TableEngine, topic: string) => Promise<unknown>;
  readonly sequence?: number;
  readonly messages?: number;
  readonly partition?: number;
  readonly code: TenonError["code"];
}

const text = Buffer.from("x");

/** How each refusal comes about for a process that has appended to the partition before: there are two ways to append, and both have to know of it. */
const refusals: Readonly<Record<BatchRefusal["refused"], Refused>> = {
  sealed: {
    meanwhile: ({ messages }, topic) => messages.declare(topic, { partitions: 2, sealed: "moved" }),
    code: "denied",
  },
  full: {
    meanwhile: ({ messages }, topic) => messages.declare(topic, { partitions: 2, countMax: 3, whenFull: "refuse" }),
    code: "overloaded",
  },
  fenced: {
    meanwhile: ({ messages }, topic) => {
      const producer = { id: "producer", epoch: 1, sequence: 0 };
      return messages.append({ topic, partition: 1, messages: [{ body: text }], producer });
    },
    code: "lost",
  },
  repeated: { sequence: 2, messages: 2, code: "conflict" },
  gap: { sequence: 9, code: "conflict" },
  partition: { partition: 2, code: "invalid" },
};

export type OpenEngine = (t: TestContext, options?: TableOptions, prefix?: string) => Promise<TableEngine>;

export function opening(server: TableServer): OpenEngine {
  return (t, options = {}, prefix = testPrefix()) => {
    const opening = server.open(prefix, { tables: "make", connectionsMax: 2, ...options });
    return closedAfter(t, opening, async (engine) => {
      await engine.close();
      await server.drop(prefix);
    });
  };
}

/** Makes tables what they were at first: without seals. */
function firstTables(prefix: string): readonly string[] {
  return [
    `ALTER TABLE ${prefix}_partitions DROP COLUMN sealed`,
    `UPDATE ${prefix}_meta SET value = 1 WHERE name = 'tables'`,
  ];
}

export function tableEngineCases(server: TableServer): void {
  const open = opening(server);

  test("makes no tables unless it is told to, and says what to do", async () => {
    await assert.rejects(server.open(testPrefix(), {}), { code: "not-found", message: /tables: "make"/ });
  });

  test("works on tables that were made by hand, and refuses those of another version", async (t) => {
    const prefix = testPrefix();
    await server.direct(...server.tables(prefix));
    const engine = await open(t, { tables: "expect" }, prefix);
    await engine.keyValue.commit([add]);
    await server.direct(`UPDATE ${prefix}_meta SET value = 99 WHERE name = 'tables'`);
    await assert.rejects(server.open(prefix, {}), { code: "conflict", fields: { version: "99", needed: 2 } });
  });

  test("brings tables of an earlier release up to date, with what is in them, whoever else starts at the same time", async (t) => {
    const prefix = testPrefix();
    const former = await open(t, {}, prefix);
    await former.messages.declare("news", { partitions: 2, groups: ["readers"] });
    const batch = { topic: "news", partition: 1, messages: [{ body: Buffer.from("x") }] };
    await former.messages.append(batch);
    await former.close();
    await server.direct(...firstTables(prefix));
    await assert.rejects(server.open(prefix, {}), { code: "conflict", message: /"make", or with what \w+Tables\("/ });
    const [engine] = await Promise.all([open(t, {}, prefix), open(t, {}, prefix), open(t, {}, prefix)]);
    assert.deepEqual(await engine.messages.append(batch), [1n]);
    assert.equal((await engine.messages.describe("news")).sealed, undefined);
    await engine.messages.declare("news", { partitions: 2, sealed: "moved" });
    await assert.rejects(engine.messages.append(batch), { code: "denied", outcome: "not-applied" });
    await open(t, { tables: "expect" }, prefix);
  });

  test("brings tables up to date by hand", async (t) => {
    const prefix = testPrefix();
    await (await open(t, {}, prefix)).close();
    await server.direct(...firstTables(prefix));
    await server.direct(...server.tables(prefix, 1));
    const engine = await open(t, { tables: "expect" }, prefix);
    await engine.messages.declare("news", { partitions: 1, sealed: "moved" });
    assert.throws(() => server.tables(prefix, 99), { code: "invalid" });
  });

  test("what other processes append while a topic is sealed is stored before the seal, or never", async (t) => {
    const prefix = testPrefix();
    const options = { connectionsMax: 8 };
    const [sealing, ...appending] = await Promise.all([1, 2, 3].map(() => open(t, options, prefix)));
    const engines = appending.map(({ messages }) => messages);
    await sealWhileOthersAppend(sealing!.messages, engines, "orders");
    await sealWhileOthersAppend(sealing!.messages, engines, "few", { countMax: 1_000_000 });
  });

  test("engines that start together make the tables once", async (t) => {
    const prefix = testPrefix();
    const engines = await Promise.all([open(t, {}, prefix), open(t, {}, prefix), open(t, {}, prefix)]);
    for (const engine of engines) await engine.keyValue.commit([add]);
    assert.equal(await count(engines[0]!), "3");
  });

  test("refuses options that make no sense", async () => {
    const wrong: readonly TableOptions[] = [
      { prefix: "no-dashes" },
      { prefix: "a; DROP TABLE b" },
      { connectionsMax: 0 },
      { commandTimeoutMs: Number.NaN },
      { tables: "drop" as "make" },
    ];
    for (const options of wrong) {
      await assert.rejects(server.open(options.prefix ?? testPrefix(), options), { code: "invalid" });
    }
    await assert.rejects(server.openWithout(), { code: "invalid" });
  });

  test("does a commit once whose reply was lost, and says that nobody knows", async (t) => {
    const engine = await open(t);
    server.lose({ statement: "COMMIT", when: "after" });
    await assert.rejects(engine.keyValue.commit([add]), { code: "unavailable", outcome: "unknown" });
    assert.equal(await count(engine), "1");
  });

  test("does nothing of a commit whose connection broke before its end, and says so", async (t) => {
    const engine = await open(t);
    server.lose({ statement: server.beforeCommit, when: "after" });
    await assert.rejects(engine.keyValue.commit([add]), { code: "unavailable", outcome: "not-applied" });
    assert.equal(await count(engine), undefined);
  });

  for (const [what, statement] of [
    ["the first of its producer", "COMMIT"],
    ["one request", server.appendNext],
  ] as const) {
    test(`stores a message once whose first reply was lost, where its append is ${what}`, async (t) => {
      const engine = await open(t);
      const news = topic(engine, "news", { codec: texts(), partitions: 1, groups: ["readers"] });
      t.after(() => news.close());
      await news.declare();
      if (statement !== "COMMIT") await news.publish("before");
      const isLost = server.lose({ statement, when: "after" });
      const first = await news.publish("first");
      assert.ok(isLost());
      const second = await news.publish("second");
      assert.equal(second.position, first.position! + 1n);
      assert.equal((await news.lag("readers")).messages, Number(second.position) + 1);
    });
  }

  for (const [kind, { meanwhile, sequence = 3, messages = 1, partition = 0, code }] of Object.entries(refusals)) {
    test(`refuses a process that has appended before what is ${kind}, and stores nothing of it`, async (t) => {
      const prefix = testPrefix();
      const [one, other] = [await open(t, {}, prefix), await open(t, {}, prefix)];
      await one.messages.declare("news", { partitions: 2, groups: ["readers"] });
      const append = (producer: { readonly sequence: number }, count = 1, to = 0) =>
        one.messages.append({
          topic: "news",
          partition: to,
          messages: Array.from({ length: count }, () => ({ body: text })),
          producer: { id: "producer", epoch: 0, ...producer },
        });
      for (const known of [0, 1, 2]) assert.deepEqual(await append({ sequence: known }), [BigInt(known)]);
      await meanwhile?.(other, "news");
      await assert.rejects(append({ sequence }, messages, partition), { code, outcome: "not-applied" });
      assert.equal((await other.messages.describe("news")).partitions[0]!.next, 3n);
    });
  }

  test("processes that append to one partition at the same time leave no gap, and each keeps its order", async (t) => {
    const prefix = testPrefix();
    const engines = await Promise.all([1, 2, 3].map(() => open(t, {}, prefix)));
    await engines[0]!.messages.declare("news", { partitions: 1, groups: ["readers"] });
    const turns = 40;
    const positions = await Promise.all(
      engines.map(async ({ messages }, index) => {
        const own: number[] = [];
        for (let sequence = 0; sequence < turns; sequence++) {
          const producer = { id: `producer ${index}`, epoch: 0, sequence };
          const [position] = await messages.append({
            topic: "news",
            partition: 0,
            messages: [{ body: text }],
            producer,
          });
          own.push(Number(position));
        }
        return own;
      }),
    );
    for (const own of positions)
      assert.deepEqual(
        own,
        [...own].sort((one, other) => one - other),
      );
    const all = positions.flat().sort((one, other) => one - other);
    assert.deepEqual(all, [...all.keys()]);
    assert.equal(all.length, turns * engines.length);
  });

  test("what one process has appended in one request is what another one reads", async (t) => {
    const prefix = testPrefix();
    const [one, other] = [await open(t, { connectionsMax: 8 }, prefix), await open(t, {}, prefix)];
    const writing = topic(one, "news", { codec: texts(), partitions: 4, groups: ["readers"] });
    const reading = topic(other, "news", { codec: texts(), partitions: 4 });
    // Of all sizes, also of several runs.
    const sent = Array.from(
      { length: 60 },
      (_, index) => `${index} ${"x".repeat((index % 7) * (index < 40 ? 500 : 30_000))}`,
    );
    for (const values of [sent.slice(0, 4), sent.slice(4, 20), sent.slice(20, 40), sent.slice(40)]) {
      await Promise.all(values.map((value, index) => writing.publish(value, { partition: index % 4 })));
    }
    const seen: string[] = [];
    const all = Promise.withResolvers<void>();
    const consumer = await reading.consume("readers", (value) => {
      if (seen.push(value) === sent.length) all.resolve();
    });
    await all.promise;
    await consumer.close();
    await Promise.all([writing.close(), reading.close()]);
    assert.deepEqual(seen.sort(), [...sent].sort());
  });

  test("an append waits for nobody who only declares the topic", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, { commandTimeoutMs: 1_000 }, prefix);
    await engine.messages.declare("news", { partitions: 1, groups: ["readers"] });
    const append = () => engine.messages.append({ topic: "news", partition: 0, messages: [{ body: text }] });
    await append();
    await server.holding(`SELECT * FROM ${prefix}_topics FOR UPDATE`, async () => {
      assert.deepEqual(await append(), [1n]);
    });
  });

  test("an append that fails in the midst of its one request leaves nothing behind", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, { connectionsMax: 1 }, prefix);
    await engine.messages.declare("news", { partitions: 2, groups: ["readers"] });
    const append = (sequence: number, partition = 0) => {
      const producer = { id: `producer ${partition}`, epoch: 0, sequence };
      return engine.messages.append({ topic: "news", partition, messages: [{ body: text }], producer });
    };
    for (const sequence of [0, 1, 2, 3]) await append(sequence);
    await server.direct(server.keepingFew(prefix));
    await assert.rejects(append(4), { code: "conflict", outcome: "not-applied" });
    // The same session goes on.
    assert.deepEqual(await append(0, 1), [0n]);
    await server.direct(`ALTER TABLE ${prefix}_partitions DROP CONSTRAINT few`);
    assert.deepEqual(await append(4), [4n]);
    assert.equal((await engine.messages.describe("news")).partitions[0]!.next, 5n);
  });

  test("a settlement whose reply was lost is repeated, and a message is handled once", async (t) => {
    const engine = await open(t);
    const news = topic(engine, "news", { codec: texts(), partitions: 1, groups: ["readers"] });
    t.after(() => news.close());
    const handled: string[] = [];
    const done = Promise.withResolvers<void>();
    const consumer = await news.consume("readers", (value) => {
      if (value === "first") server.lose({ statement: server.settlement, when: "after" });
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
    await server.holding(`SELECT * FROM ${prefix}_meta FOR UPDATE`, async () => {
      await assert.rejects(engine.keyValue.commit([add]), { code: "unavailable", outcome: "not-applied" });
    });
    await engine.keyValue.commit([add]);
    assert.equal(await count(engine), "2");
  });

  test("shows a change that nobody told", async (t) => {
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
    await server.direct(...server.quietCommit(prefix, "quiet"));
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

  test("engines that append to one partition in turn leave no gap, and find what the others did", async (t) => {
    const prefix = testPrefix();
    const [one, other] = [await open(t, {}, prefix), await open(t, {}, prefix)];
    await one.messages.declare("news", { partitions: 2, groups: ["readers"] });
    const sequences = new Map<string, number>();
    const append = async (
      engine: TableEngine,
      id: string,
      { epoch = 0, partition = 0, sequence = sequences.get(id) ?? 0 } = {},
    ) => {
      const producer = { id, epoch, sequence };
      const [position] = await engine.messages.append({
        topic: "news",
        partition,
        messages: [{ body: Buffer.from(id) }],
        producer,
      });
      sequences.set(id, Math.max(sequence + 1, sequences.get(id) ?? 0));
      return Number(position);
    };
    const positions: number[] = [];
    for (const engine of [one, one, one, other, one, other, other, one, one]) {
      positions.push(await append(engine, engine === one ? "first" : "second"));
    }
    assert.deepEqual(positions, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert.equal(await append(one, "first", { sequence: 3 }), 4, "repeated");
    assert.equal(await append(one, "first"), 9);
    await assert.rejects(append(one, "first", { sequence: 99 }), { code: "conflict" });
    assert.equal(await append(one, "first"), 10);
    // The producer goes on in another process, and in another partition.
    await append(other, "first", { epoch: 1, partition: 1, sequence: 0 });
    await assert.rejects(append(one, "first", { sequence: 8 }), { code: "lost" });
  });

  test("what another engine limits, or delays, holds for who has appended there before", async (t) => {
    const prefix = testPrefix();
    const [one, other] = [await open(t, {}, prefix), await open(t, {}, prefix)];
    await one.messages.declare("news", { partitions: 1, groups: ["readers"] });
    const append = async (engine: TableEngine, delay: { readonly dueAt?: number } = {}) => {
      const messages = [{ body: text, ...delay }];
      const [position] = await engine.messages.append({ topic: "news", partition: 0, messages });
      return Number(position);
    };
    assert.deepEqual([await append(one), await append(one)], [0, 1]);
    const dueAt = Date.now() + 300;
    await append(other, { dueAt });
    // It takes its position when it is due, from whoever appends then: from there on positions count it, too.
    let position: number;
    let stored = 3;
    do {
      position = await append(one);
      assert.ok(stored < 5_000, "it is never appended");
    } while (position !== stored++);
    assert.equal(await append(one), position + 1);
    await other.messages.declare("news", { partitions: 1, countMax: position + 3, whenFull: "refuse" });
    await append(one);
    await assert.rejects(append(one), { code: "overloaded" });
  });

  test("errors hold no values", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    await server.direct(server.refusing(prefix));
    const change: KeyValueChange = { type: "put", key: "k", value: Buffer.from("secret") };
    await assert.rejects(engine.keyValue.commit([change]), (error) => {
      assert.ok(error instanceof TenonError);
      assert.equal(error.outcome, "not-applied");
      const said = JSON.stringify([error.message, error.fields, String(error.cause)]);
      assert.ok(!said.includes("secret") && !said.includes(Buffer.from("secret").toString("hex")));
      return true;
    });
    await engine.keyValue.commit([add]);
    assert.equal(await count(engine), "1");
  });
}
