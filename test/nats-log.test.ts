/** Logs on NATS that several processes use, and what stands in the server. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import type { LogEngine, LogWriter, TenonError } from "tenon/contracts";
import type { NatsEngine } from "tenon/nats";
import { engine } from "./engines.ts";
import { natsConnection, openNats, testPrefix } from "./nats-host.ts";
import { keepAlive } from "./server-suites.ts";

keepAlive();

const { url, skip } = await engine("nats");

function open(t: TestContext, prefix: string): Promise<NatsEngine> {
  return openNats(t, url, { prefix });
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

  test("a description is of one instant: what was appended later is not there without what was appended before", async (t) => {
    const prefix = testPrefix();
    const [writing, reading] = [await open(t, prefix), await open(t, prefix)];
    // More than are asked about at once.
    await writing.log.declare("clicks", { partitions: 70 });
    const all = [0, 30, 69];
    let isOver = false;
    const describing = (async () => {
      while (!isOver) {
        const { partitions } = await reading.log.describe("clicks");
        const nexts = all.map((partition) => partitions[partition]!.next);
        const falling = [...nexts].sort((one, other) => Number(other - one));
        assert.deepEqual(nexts, falling);
        assert.ok(nexts[0]! - nexts.at(-1)! <= 1n, `${nexts}`);
        for (const { first, next, lastAt } of partitions) assert.equal(lastAt === undefined, first === next);
      }
    })();
    const appending = (async () => {
      for (let n = 0; n < 50; n++)
        for (const partition of all) await writing.log.append({ log: "clicks", partition, records: recordsOf("a") });
    })();
    await Promise.race([describing, appending]);
    isOver = true;
    await Promise.all([describing, appending]);
  });

  test("what another process removed and declared anew is what is used from then on", async (t) => {
    const prefix = testPrefix();
    const [{ log }, other] = [await open(t, prefix), await open(t, prefix)];
    const declareAnew = async (partitions: number) => {
      await other.log.remove("clicks");
      await other.log.declare("clicks", { partitions });
    };
    await log.declare("clicks", { partitions: 1 });
    await log.append({ log: "clicks", partition: 0, records: recordsOf("former") });
    const former = await log.openWriter("writer", ["clicks"]);
    await log.commit(former, { outputs: [{ log: "clicks", partition: 0, records: recordsOf("former") }] });
    await declareAnew(2);
    await log.append({ log: "clicks", partition: 1, records: recordsOf("new") });
    await declareAnew(3);
    assert.deepEqual((await log.read({ log: "clicks", partition: 2, from: 0n, limit: 1 })).records, []);
    await declareAnew(4);
    assert.equal(await log.locate("clicks", 3, 0), 0n);
    await declareAnew(5);
    assert.equal((await log.describe("clicks")).partitions.length, 5);
    await declareAnew(1);
    const change = { outputs: [{ log: "clicks", partition: 0, records: recordsOf("late") }] };
    await assert.rejects(log.commit(former, change), { code: "lost" });
    const writer = await log.openWriter("writer", ["clicks"]);
    await declareAnew(1);
    const standing = { reader: "reader", log: "clicks", partition: 0, position: 0n };
    await assert.rejects(log.commit(writer, { positions: [standing] }), { code: "lost" });
    await other.log.remove("clicks");
    await assert.rejects(log.append({ log: "clicks", partition: 0, records: recordsOf("a") }), { code: "not-found" });
    await assert.rejects(log.commit(writer, { positions: [standing] }), { code: "not-found" });
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
