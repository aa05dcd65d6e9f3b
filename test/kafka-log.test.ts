/** Logs on Kafka where connections break, processes die in the midst of a commit, and transactions of others stand in the way. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import * as client from "@platformatic/kafka";
import { type LogEngine, type LogWriter, TenonError } from "tenon/contracts";
import type { KafkaEngine, KafkaOptions } from "tenon/kafka";
import { assertCopiedOnce } from "./copied-once.ts";
import { engine as find } from "./engines.ts";
import { startTcpProxy, type TcpProxy } from "./faults/tcp-proxy.ts";
import { deleteTopics, detouredTo, serverOf, startKafka, testPrefix } from "./kafka-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const found = await find("kafka");
const server = serverOf(found.url);

async function open(t: TestContext, prefix: string, options: Partial<KafkaOptions> = {}): Promise<KafkaEngine> {
  const { engine } = await startKafka(server, prefix, options);
  t.after(() => engine.close());
  return engine;
}

/** A prefix of the test's own, whose topics go with it. */
function own(t: TestContext): string {
  const prefix = testPrefix();
  t.after(() => deleteTopics(server, prefix));
  return prefix;
}

const records = (...texts: readonly string[]) => texts.map((text) => ({ body: Buffer.from(text) }));
const output = (text: string, partition = 0) => ({ log: "out", partition, records: records(text) });
const standing = (position: bigint) => ({ reader: "reader", log: "in", partition: 0, position });

async function textsOf(log: LogEngine, name: string, partition = 0): Promise<readonly string[]> {
  const texts: string[] = [];
  for (let from = (await log.describe(name)).partitions[partition]!.first; ; ) {
    const page = await log.read({ log: name, partition, from, limit: 100 });
    if (page.records.length === 0) return texts;
    texts.push(...page.records.map(({ body }) => Buffer.from(body).toString()));
    from = page.next;
  }
}

/** A log with three records to be read, and one of two partitions to be written. */
async function declareBoth(log: LogEngine): Promise<void> {
  await log.declare("in", { partitions: 1 });
  await log.declare("out", { partitions: 2 });
  await log.append({ log: "in", partition: 0, records: records("a", "b", "c") });
}

/** Both outputs and the position, or nothing. Answers whether it happened. */
async function happened(log: LogEngine, text: string): Promise<boolean> {
  const stands = (await log.positions("reader", "in")).get(0);
  const texts = [await textsOf(log, "out", 0), await textsOf(log, "out", 1)];
  assert.ok(stands === undefined || stands === 1n);
  assert.deepEqual(texts, stands === undefined ? [[], []] : [[text], [text]]);
  return stands !== undefined;
}

const whole = (text: string) => ({ outputs: [output(text), output(text, 1)], positions: [standing(1n)] });

type Send = () => Promise<unknown>;

/** The client, where one of its requests is made as `instead` says. */
function instead<Name extends "endTxnV3" | "initProducerIdV4">(
  name: Name,
  make: (
    send: (...parameters: Parameters<(typeof client)[Name]["api"]["async"]>) => Promise<unknown>,
    parameters: Parameters<(typeof client)[Name]["api"]["async"]>,
  ) => Promise<unknown>,
  of: typeof client = client,
): typeof client {
  const { api } = of[name];
  type Async = (...parameters: Parameters<(typeof client)[Name]["api"]["async"]>) => Promise<unknown>;
  const send = api.async as unknown as Async;
  const async: Async = (...parameters) => make(send, parameters);
  return { ...of, [name]: { ...of[name], api: { ...api, async } } };
}

function ending(make: (send: Send) => Promise<unknown>): typeof client {
  return instead("endTxnV3", (send, parameters) => make(() => send(...parameters)));
}

async function proxied(t: TestContext): Promise<TcpProxy> {
  const proxy = await startTcpProxy({ serverPort: server.port });
  t.after(() => proxy[Symbol.asyncDispose]());
  return proxy;
}

describe("logs on Kafka", { skip: found.skip, concurrency: 3 }, () => {
  test("who appended to a log and read it before others removed it and declared it anew goes on with the new one", async (t) => {
    const prefix = own(t);
    const [{ log }, { log: other }] = [await open(t, prefix), await open(t, prefix)];
    await log.declare("in", { partitions: 1 });
    await other.append({ log: "in", partition: 0, records: records("former") });
    assert.deepEqual(await textsOf(other, "in"), ["former"]);
    await log.remove("in");
    await log.declare("in", { partitions: 1 });
    assert.deepEqual(await other.append({ log: "in", partition: 0, records: records("new") }), [0n]);
    assert.deepEqual(await textsOf(other, "in"), ["new"]);
  });

  test("every input counts once in the outputs of a pipe, although connections are cut again and again", async (t) => {
    const prefix = own(t);
    let cuts = 0;
    const proxy = await startTcpProxy({
      serverPort: server.port,
      connected(connection) {
        if (cuts >= 30) return;
        cuts += 1;
        // Each connection breaks later than the one before it; a connection that never holds would let nothing through.
        connection.resetAfter(cuts % 2 === 0 ? "request" : "reply", 2_000 + cuts * 700);
      },
    });
    t.after(() => proxy[Symbol.asyncDispose]());
    const reading = await open(t, prefix);
    const cutOff = await open(t, prefix, {
      ...detouredTo(proxy.port),
      commandTimeoutMs: 2_000,
      connectTimeoutMs: 60_000,
    });
    await assertCopiedOnce(cutOff, reading, 300, "exactly-once");
    assert.ok(proxy.accepted > 15, `${proxy.accepted} connections`);
  });

  const breaks: Readonly<Record<string, (proxy: TcpProxy, send: Send) => Promise<unknown>>> = {
    "is cut off": (proxy, send) => {
      for (const connection of proxy.connections) connection.resetAfter("request", 10);
      return send();
    },
    "loses its answer": (proxy, send) => {
      for (const connection of proxy.connections) connection.loseReply();
      return send();
    },
  };
  for (const [name, breaking] of Object.entries(breaks)) {
    test(`nobody knows what came of a commit whose end ${name}, until its writer is opened anew`, async (t) => {
      const prefix = own(t);
      const proxy = await proxied(t);
      const broken = await open(t, prefix, {
        ...detouredTo(proxy.port),
        client: ending((send) => breaking(proxy, send)),
      });
      const sound = await open(t, prefix);
      await declareBoth(sound.log);
      const writer = await broken.log.openWriter("writer", ["in", "out"]);
      await assert.rejects(broken.log.commit(writer, whole("once")), { code: "unavailable", outcome: "unknown" });
      const next = await sound.log.openWriter("writer", ["in", "out"]);
      const isThere = await happened(sound.log, "once");
      assert.equal(isThere, name === "loses its answer");
      if (!isThere) await sound.log.commit(next, whole("once"));
      assert.equal(await happened(sound.log, "once"), true);
      await assert.rejects(broken.log.commit(writer, whole("twice")), { code: "lost" });
      assert.equal(await happened(sound.log, "once"), true);
    });
  }

  test("a commit that takes too long is given up by Kafka, and its writer goes on", async (t) => {
    const prefix = own(t);
    const { log } = await open(t, prefix);
    await declareBoth(log);
    let isSlow = true;
    const hasty = instead("initProducerIdV4", (send, [connection, id, timeoutMs, ...rest]) =>
      send(connection, id, isSlow ? 100 : timeoutMs, ...rest),
    );
    const slow = instead(
      "endTxnV3",
      async (send, parameters) => {
        // Kafka has decided it when others see so.
        if (isSlow) assert.equal(await happened(log, "late"), false);
        isSlow = false;
        return send(...parameters);
      },
      hasty,
    );
    const { log: late } = await open(t, prefix, { client: slow, commandTimeoutMs: 30_000 });
    const writer = await late.openWriter("writer", ["in", "out"]);
    const commit = (text: string) => late.commit(writer, whole(text));
    await assert.rejects(commit("late"), { code: "unavailable", outcome: "not-applied", message: /took too long/ });
    assert.equal(await happened(log, "late"), false);
    await commit("in time");
    assert.equal(await happened(log, "in time"), true);
  });

  test("a writer is a value: another process goes on with it, and fences the one that had it", async (t) => {
    const prefix = own(t);
    const [one, other] = [await open(t, prefix), await open(t, prefix)];
    await declareBoth(one.log);
    const writer = await one.log.openWriter("writer", ["in", "out"]);
    const write = ({ log }: KafkaEngine, text: string, by: LogWriter) => log.commit(by, { outputs: [output(text)] });
    await write(one, "1", writer);
    await write(other, "2", writer);
    await write(other, "3", writer);
    await assert.rejects(write(one, "lost", writer), { code: "unavailable", outcome: "not-applied" });
    await write(one, "4", writer);
    await assert.rejects(write(other, "lost", writer), { code: "unavailable", outcome: "not-applied" });
    const next = await one.log.openWriter("writer", ["in", "out"]);
    assert.ok(next.epoch > writer.epoch);
    await assert.rejects(write(other, "lost", writer), { code: "lost", outcome: "not-applied" });
    await write(one, "5", next);
    assert.deepEqual(await textsOf(other.log, "out"), ["1", "2", "3", "4", "5"]);
  });

  test("processes that fight for one writer, over connections that break, do each step once and in order", async (t) => {
    const prefix = own(t);
    const steps = 40n;
    let cuts = 0;
    const proxy = await startTcpProxy({
      serverPort: server.port,
      connected: (connection) => {
        cuts += 1;
        if (cuts < 60) connection.resetAfter(cuts % 2 === 0 ? "request" : "reply", 3_000 + cuts * 300);
      },
    });
    t.after(() => proxy[Symbol.asyncDispose]());
    const sound = await open(t, prefix);
    await sound.log.declare("in", { partitions: 1 });
    await sound.log.declare("out", { partitions: 1 });
    await sound.log.append({ log: "in", partition: 0, records: records(...Array.from({ length: 50 }, String)) });
    const detour = { ...detouredTo(proxy.port), commandTimeoutMs: 2_000, connectTimeoutMs: 60_000 };
    const engines = [sound, await open(t, prefix, detour), await open(t, prefix, detour)];
    const epochs: bigint[] = [];
    /** As a pipe does: under a writer of its own it goes on from where the reader stands, for as long as it is let. */
    const work = async ({ log }: KafkaEngine) => {
      const writer = await log.openWriter("writer", ["in", "out"]);
      epochs.push(writer.epoch);
      for (let step = (await log.positions("reader", "in")).get(0) ?? 0n; step < steps; step++) {
        await log.commit(writer, { outputs: [output(`${step}`)], positions: [standing(step + 1n)] });
        // Until somebody else takes over.
        await log.read({ log: "out", partition: 0, from: 0n, limit: 1 });
      }
    };
    const fight = async (engine: KafkaEngine) => {
      for (let isDone = false; !isDone; ) {
        isDone = await work(engine).then(
          () => true,
          (error: unknown) => {
            assert.ok(error instanceof TenonError && ["lost", "unavailable"].includes(error.code), String(error));
            return false;
          },
        );
      }
    };
    await Promise.all(engines.map(fight));
    assert.deepEqual(
      await textsOf(sound.log, "out"),
      Array.from({ length: Number(steps) }, (_, step) => `${step}`),
    );
    assert.equal(new Set(epochs).size, epochs.length, "each opening has an epoch of its own");
    assert.ok(epochs.length > 5, `${epochs.length} openings`);
  });

  test("what was confirmed is seen at once by other processes, although Kafka marks it later", async (t) => {
    const prefix = own(t);
    const [writing, reading] = [await open(t, prefix), await open(t, prefix)];
    await declareBoth(writing.log);
    const writer = await writing.log.openWriter("writer", ["in", "out"]);
    for (let count = 1n; count <= 5n; count++) {
      const change = { outputs: [output("x"), output("x", 1)], positions: [standing(count > 3n ? 3n : count)] };
      const [[position]] = (await writing.log.commit(writer, change)) as [[bigint], [bigint]];
      const [description, page, positions, end] = await Promise.all([
        reading.log.describe("out"),
        reading.log.read({ log: "out", partition: 1, from: 0n, limit: 10 }),
        reading.log.positions("reader", "in"),
        reading.log.locate("out", 0, Date.now() + 3_600_000),
      ]);
      assert.ok(
        description.partitions[0]!.next > position,
        `${description.partitions[0]!.next} is not beyond ${position}`,
      );
      assert.ok(end > position, `${end} is not beyond ${position}`);
      assert.equal(page.records.length, Number(count));
      assert.equal(positions.get(0), count > 3n ? 3n : count);
    }
  });

  test("what was given up is no record: not for a page, nor for bounds, nor for an instant", async (t) => {
    const prefix = own(t);
    const { log } = await open(t, prefix);
    await log.declare("out", { partitions: 1 });
    const transactionalId = `${prefix}-another`;
    const bootstrapBrokers = [`${server.host}:${server.port}`];
    const producer = new client.Producer({ clientId: "another", bootstrapBrokers, idempotent: true, transactionalId });
    const giveUp = async (count: number) => {
      const transaction = await producer.beginTransaction();
      const message = { topic: `${prefix}_log.out`, partition: 0, value: Buffer.from("given up") };
      await transaction.send({ messages: Array.from({ length: count }, () => ({ ...message })) });
      await transaction.abort();
    };
    await giveUp(3);
    const [empty] = (await log.describe("out")).partitions;
    assert.deepEqual([empty!.first === empty!.next, empty!.lastAt], [true, undefined]);
    assert.equal(await log.locate("out", 0, 0), empty!.next);
    const [kept] = await log.append({ log: "out", partition: 0, records: records("kept") });
    await giveUp(200);
    await producer.close();
    const [bounds] = (await log.describe("out")).partitions;
    assert.equal(bounds!.first, kept);
    const { records: page, next } = await log.read({ log: "out", partition: 0, from: 0n, limit: 10 });
    assert.deepEqual(
      page.map(({ position, appendedAt }) => [position, appendedAt]),
      [[kept, bounds!.lastAt]],
    );
    assert.equal(next, bounds!.next);
    assert.equal(await log.locate("out", 0, 0), kept);
    assert.equal(await log.locate("out", 0, bounds!.lastAt! + 1), next);
    await assert.rejects(log.read({ log: "out", partition: 0, from: next + 1n, limit: 1 }), { code: "invalid" });
  });

  test("a log's retention is its topic's, and whoever declares another one changes it", async (t) => {
    const prefix = own(t);
    const { log } = await open(t, prefix);
    const admin = new client.Admin({ clientId: "another", bootstrapBrokers: [`${server.host}:${server.port}`] });
    t.after(() => admin.close());
    const settings = async () => {
      const configurationKeys = ["retention.ms", "retention.bytes"];
      const resources = [{ resourceType: 2, resourceName: `${prefix}_log.clicks`, configurationKeys } as const];
      const [described] = await admin.describeConfigs({ resources });
      return Object.fromEntries(described!.configs.map(({ name, value }) => [name, value]));
    };
    await log.declare("clicks", { partitions: 1 });
    assert.deepEqual(await settings(), { "retention.ms": "-1", "retention.bytes": "-1" });
    await log.declare("clicks", { partitions: 1, retentionMs: 86_400_000.5 });
    await log.declare("clicks", { partitions: 1, retentionBytes: 1_000_000 });
    assert.deepEqual(await settings(), { "retention.ms": "86400001", "retention.bytes": "1000000" });
    await log.declare("clicks", { partitions: 1, retentionMs: Number.POSITIVE_INFINITY });
    assert.deepEqual(await settings(), { "retention.ms": "-1", "retention.bytes": "1000000" });
  });

  test("a log and a topic of one name have nothing to do with each other", async (t) => {
    const { log, messages } = await open(t, own(t));
    await messages.declare("clicks", { partitions: 2, groups: ["group"] });
    await log.declare("clicks", { partitions: 3 });
    assert.deepEqual([await log.logs(), await messages.topics()], [["clicks"], ["clicks"]]);
    await log.append({ log: "clicks", partition: 2, records: records("a") });
    assert.equal((await messages.describe("clicks")).groups[0]!.lanes[0]!.lag, 0);
    await messages.remove("clicks");
    assert.deepEqual(await textsOf(log, "clicks", 2), ["a"]);
  });
});
