/** Logs on NATS where replies and notices are lost, and what stands in the server. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import type { LogEngine, LogWriter, TenonError } from "tenon/contracts";
import type { NatsEngine, NatsEngineOptions } from "tenon/nats";
import { engine } from "./engines.ts";
import { startTcpProxy } from "./faults/tcp-proxy.ts";
import { assertCopiedOnce } from "./log-copies.ts";
import { natsConnection, openNats, testPrefix } from "./nats-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const { url, skip } = await engine("nats");

function open(t: TestContext, prefix: string, options: Partial<NatsEngineOptions> = {}): Promise<NatsEngine> {
  return openNats(t, url, { ...options, prefix });
}

/** Connections whose requests are carried out, and some of whose replies are lost. */
async function lossyConnection(isLost: () => boolean): Promise<NatsConnection> {
  const connection = await natsConnection(url);
  const request = connection.request.bind(connection);
  connection.request = async (...parameters) => {
    const reply = await request(...parameters);
    if (isLost()) throw new Error("the reply was lost");
    return reply;
  };
  return connection;
}

/** Tells nobody of what was appended. */
async function quietConnection(prefix: string): Promise<NatsConnection> {
  const connection = await natsConnection(url);
  const publish = connection.publish.bind(connection);
  connection.publish = (subject, ...rest) => {
    if (!subject.startsWith(`${prefix}.n.`)) publish(subject, ...rest);
  };
  return connection;
}

/** A connection of which is known when nothing is asked on it any more. */
class Idleness {
  #pending = 0;
  #wake: (() => void) | undefined;

  async connect(): Promise<NatsConnection> {
    const connection = await natsConnection(url);
    const request = connection.request.bind(connection);
    connection.request = async (...parameters) => {
      this.#pending += 1;
      try {
        return await request(...parameters);
      } finally {
        this.#pending -= 1;
        this.#wake?.();
      }
    };
    return connection;
  }

  async idle(): Promise<void> {
    do {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      // What follows from an answer is asked in the same turn.
      await setImmediate();
    } while (this.#pending > 0);
  }
}

async function subjectsOf(prefix: string, stream: string): Promise<readonly string[]> {
  const connection = await natsConnection(url);
  try {
    const request = JSON.stringify({ subjects_filter: ">" });
    const reply = await connection.request(`$JS.API.STREAM.INFO.${prefix}_${stream}`, request, { timeout: 10_000 });
    const { state } = reply.json<{ state: { subjects?: Record<string, number> } }>();
    return Object.entries(state.subjects ?? {}).flatMap(([subject, count]) => new Array<string>(count).fill(subject));
  } finally {
    await connection.close();
  }
}

const recordsOf = (...texts: readonly string[]) => texts.map((text) => ({ body: Buffer.from(text) }));

async function textsOf(log: LogEngine, name: string, partition = 0): Promise<readonly string[]> {
  const texts: string[] = [];
  let from = (await log.describe(name)).partitions[partition]!.first;
  for (;;) {
    const page = await log.read({ log: name, partition, from, limit: 1_000 });
    if (page.records.length === 0) return texts;
    texts.push(...page.records.map(({ body }) => Buffer.from(body).toString()));
    from = page.next;
  }
}

describe("logs on NATS", { skip, concurrency: 3 }, () => {
  test("every input counts once in the outputs of a pipe, although replies of all kinds are lost", async (t) => {
    const prefix = testPrefix();
    const reading = await open(t, prefix);
    let lost = 0;
    let isOpen = false;
    const connect = () =>
      lossyConnection(() => {
        const isLost = isOpen && Math.random() < 0.04;
        lost += isLost ? 1 : 0;
        return isLost;
      });
    const writing = await open(t, prefix, { connect });
    isOpen = true;
    await assertCopiedOnce(writing, reading, 200);
    assert.ok(lost > 5, `${lost} replies were lost`);
  });

  test("every input counts once although connections are cut again and again", async (t) => {
    // Each connection breaks later than the one before it; a connection that never holds would let nothing through.
    let cuts = 0;
    const proxy = await startTcpProxy({
      serverPort: Number(new URL(url).port),
      connected(connection) {
        if (cuts >= 12) return;
        cuts += 1;
        connection.resetAfter(cuts % 2 === 0 ? "request" : "reply", 4_000 + cuts * 1_500);
      },
    });
    t.after(() => proxy[Symbol.asyncDispose]());
    const prefix = testPrefix();
    const reading = await open(t, prefix);
    const through = new URL(url);
    through.port = String(proxy.port);
    const connect = () => natsConnection(through.href);
    const cutOff = await open(t, prefix, { connect, streams: "expect", commandTimeoutMs: 2_000 });
    await assertCopiedOnce(cutOff, reading, 300);
    assert.ok(proxy.accepted > 6, `${proxy.accepted} connections`);
  });

  test("a reader is woken by what is appended elsewhere, and comes to it also when no notice arrives", async (t) => {
    const prefix = testPrefix();
    const waiting = new Idleness();
    const reader = await open(t, prefix, { connect: () => waiting.connect() });
    const [loud, quiet] = [await open(t, prefix), await open(t, prefix, { connect: () => quietConnection(prefix) })];
    await reader.log.declare("clicks", { partitions: 2 });
    for (const [from, engine] of [loud, quiet].entries()) {
      const next = BigInt(from);
      const request = { log: "clicks", partition: 1, from: next, limit: 1, waitMs: Number.POSITIVE_INFINITY };
      const read = reader.log.read(request);
      await waiting.idle();
      await engine.log.append({ log: "clicks", partition: 1, records: recordsOf("a") });
      assert.equal(Buffer.from((await read).records[0]!.body).toString(), "a");
    }
  });

  test("what a retention by size does not keep is gone from the server, and the rest is there", async (t) => {
    const prefix = testPrefix();
    const { log } = await open(t, prefix);
    await log.declare("clicks", { partitions: 2, retentionBytes: 10_000 });
    for (let n = 0; n < 100; n++)
      await log.append({ log: "clicks", partition: 1, records: recordsOf(`${n} `.padEnd(500, ".")) });
    const { first, next } = (await log.describe("clicks")).partitions[1]!;
    assert.equal(next, 100n);
    assert.equal(next - first, 20n);
    const left = (await subjectsOf(prefix, "logs")).filter((subject) => subject.endsWith(".1"));
    assert.equal(left.length, 20);
    await assert.rejects(log.read({ log: "clicks", partition: 1, from: first - 1n, limit: 1 }), { code: "not-found" });
    assert.equal((await textsOf(log, "clicks", 1)).length, 20);
  });

  test("while several processes append and trim, a retention by size keeps what it says, and readers meet no gap", async (t) => {
    const prefix = testPrefix();
    const engines = await Promise.all([open(t, prefix), open(t, prefix), open(t, prefix)]);
    const [{ log }] = engines as [NatsEngine, ...NatsEngine[]];
    await log.declare("clicks", { partitions: 1, retentionBytes: 5_000 });
    const records = recordsOf("x".repeat(100));
    let isOver = false;
    const describing = engines.map(async ({ log }) => {
      while (!isOver) {
        const { first, next } = (await log.describe("clicks")).partitions[0]!;
        assert.ok(next - first >= 50n || first === 0n, `of ${next} records only ${next - first} are kept`);
        const reading = log.read({ log: "clicks", partition: 0, from: first, limit: 1_000 });
        const page = await reading.catch((error: TenonError) => {
          assert.equal(error.code, "not-found");
          return { records: [] };
        });
        for (const [index, { position }] of page.records.entries()) assert.equal(position, first + BigInt(index));
      }
    });
    await Promise.all(
      engines.map(async ({ log }) => {
        for (let n = 0; n < 100; n++) await log.append({ log: "clicks", partition: 0, records });
      }),
    );
    isOver = true;
    await Promise.all(describing);
    const { first, next } = (await log.describe("clicks")).partitions[0]!;
    assert.deepEqual([first, next], [250n, 300n]);
  });

  test("a longer retention keeps what is there", async (t) => {
    const { log } = await open(t, testPrefix());
    await log.declare("clicks", { partitions: 1, retentionBytes: 1_000 });
    await log.declare("clicks", { partitions: 1, retentionBytes: Number.POSITIVE_INFINITY });
    for (let n = 0; n < 10; n++)
      await log.append({ log: "clicks", partition: 0, records: recordsOf(`${n}`.repeat(500)) });
    assert.equal((await log.describe("clicks")).partitions[0]!.first, 0n);
    assert.equal((await textsOf(log, "clicks")).length, 10);
  });

  test("what was removed leaves nothing in the server", async (t) => {
    const prefix = testPrefix();
    const { log } = await open(t, prefix);
    await log.declare("clicks", { partitions: 3 });
    const producer = { id: "p", epoch: 1, sequence: 0 };
    await log.append({ log: "clicks", partition: 2, records: recordsOf("a"), producer });
    const writer = await log.openWriter("writer", ["clicks"]);
    await log.commit(writer, { outputs: [{ log: "clicks", partition: 1, records: recordsOf("b") }] });
    await log.commit(writer, { positions: [{ reader: "reader", log: "clicks", partition: 2, position: 1n }] });
    const there = await Promise.all(["logs", "state", "producers"].map((stream) => subjectsOf(prefix, stream)));
    assert.ok(there.every((subjects) => subjects.length > 0));
    await log.remove("clicks");
    assert.deepEqual(await subjectsOf(prefix, "logs"), []);
    assert.deepEqual(await subjectsOf(prefix, "producers"), []);
    // The clock's, and the last number that was given.
    const state = (await subjectsOf(prefix, "state")).filter((subject) => !subject.startsWith(`${prefix}.s.c.`));
    assert.deepEqual(state, [`${prefix}.s.n`]);
    await assert.rejects(log.commit(writer, {}), { code: "not-found" });
    await log.declare("clicks", { partitions: 3 });
    await assert.rejects(log.commit(writer, {}), { code: "lost" });
  });

  test("more writers than a partition's head has room for are all remembered, and fenced", async (t) => {
    const { log } = await open(t, testPrefix());
    await log.declare("clicks", { partitions: 1 });
    const names = Array.from({ length: 150 }, (_, n) => `writer ${n}`);
    const store = (writer: LogWriter, sequences: readonly bigint[]) => {
      const records = recordsOf(...sequences.map((sequence) => `${writer.name}: ${sequence}`));
      return log.commit(writer, { outputs: [{ log: "clicks", partition: 0, records, sequences }] });
    };
    const former: LogWriter[] = [];
    for (const name of names) {
      const writer = await log.openWriter(name, ["clicks"]);
      former.push(writer);
      await store(writer, [1n]);
    }
    for (const writer of former) assert.deepEqual(await store(writer, [1n]), [[undefined]]);
    for (const name of names) await store(await log.openWriter(name, ["clicks"]), [1n, 2n]);
    for (const writer of former) await assert.rejects(store(writer, [3n]), { code: "lost" });
    const expected = [1, 2].flatMap((sequence) => names.map((name) => `${name}: ${sequence}`));
    assert.deepEqual(await textsOf(log, "clicks"), expected);
  });

  test("what was forgotten of a reader is not said again by a writer that was fenced", async (t) => {
    const { log } = await open(t, testPrefix());
    await log.declare("clicks", { partitions: 1 });
    await log.append({ log: "clicks", partition: 0, records: recordsOf("a") });
    const positions = [{ reader: "reader", log: "clicks", partition: 0, position: 1n }];
    const former = await log.openWriter("writer", ["clicks"]);
    await log.commit(former, { positions });
    const writer = await log.openWriter("writer", ["clicks"]);
    await log.forget("reader", "clicks");
    await assert.rejects(log.commit(former, { positions }), { code: "lost" });
    assert.deepEqual(await log.positions("reader", "clicks"), new Map());
    await log.commit(writer, { positions });
    assert.deepEqual(await log.positions("reader", "clicks"), new Map([[0, 1n]]));
  });

  test("names may hold what subjects cannot", async (t) => {
    const { log } = await open(t, testPrefix());
    const odd = "a.b *>\u0000\u{1f600}'\"\\ ";
    await log.declare(odd, { partitions: 1 });
    const writer = await log.openWriter(odd, [odd]);
    await log.commit(writer, { outputs: [{ log: odd, partition: 0, records: recordsOf("a") }] });
    await log.commit(writer, { positions: [{ reader: odd, log: odd, partition: 0, position: 1n }] });
    assert.deepEqual(await log.logs(), [odd]);
    assert.deepEqual(await log.positions(odd, odd), new Map([[0, 1n]]));
  });

  test("appends of several processes share a partition, and every position is given once", async (t) => {
    const prefix = testPrefix();
    const engines = await Promise.all([open(t, prefix), open(t, prefix), open(t, prefix)]);
    await engines[0]!.log.declare("clicks", { partitions: 1 });
    const positions = await Promise.all(
      Array.from({ length: 150 }, (_, n) =>
        engines[n % 3]!.log.append({ log: "clicks", partition: 0, records: recordsOf(`${n}`, `${n}`) }),
      ),
    );
    const all = positions.flat().map(Number);
    assert.deepEqual(
      all.sort((one, other) => one - other),
      Array.from({ length: 300 }, (_, index) => index),
    );
  });
});
