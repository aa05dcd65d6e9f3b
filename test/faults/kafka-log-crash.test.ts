/** A process that dies in the midst of a commit, and those who come after it; and a broker that dies under a pipe. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, describe, type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { LogEngine } from "tenon/contracts";
import { kafkaServerMissing, startKafkaServer } from "../../scripts/engines/kafka-server.ts";
import { assertCopiedOnce } from "../copied-once.ts";
import { engine } from "../engines.ts";
import { deleteTopics, serverOf, startKafka, testPrefix } from "../kafka-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const kafka = await engine("kafka");
const records = (text: string) => [{ body: Buffer.from(text) }];

/** A log engine beside a process that was killed when all of its commit was written. */
async function afterTheCrash(t: TestContext, commandTimeoutMs: number): Promise<LogEngine> {
  const server = serverOf(kafka.url);
  const prefix = testPrefix();
  t.after(() => deleteTopics(server, prefix));
  const { engine: own } = await startKafka(server, prefix);
  t.after(() => own.close());
  await own.log.declare("in", { partitions: 1 });
  await own.log.declare("out", { partitions: 2 });
  await own.log.append({ log: "in", partition: 0, records: records("a") });
  const program = fileURLToPath(new URL("kafka-log-writer.ts", import.meta.url));
  const parameters = JSON.stringify([server, prefix, commandTimeoutMs]);
  const child = spawn(process.execPath, ["--conditions=source", program, parameters], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  t.after(() => child.kill("SIGKILL"));
  const said = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  assert.equal(said.value, "written");
  child.kill("SIGKILL");
  await ended;
  return own.log;
}

async function textsOf(log: LogEngine, partition: number): Promise<readonly string[]> {
  const { records: read } = await log.read({ log: "out", partition, from: 0n, limit: 100 });
  return read.map(({ body }) => Buffer.from(body).toString());
}

describe("a process that dies in the midst of a commit on Kafka", { skip: kafka.skip, concurrency: 2 }, () => {
  test("is followed by the next one that opens its writer: nothing of the commit happened", async (t) => {
    // Kafka itself would not give it up before the test is over.
    const log = await afterTheCrash(t, 300_000);
    const writer = await log.openWriter("writer", ["in", "out"]);
    assert.equal((await log.positions("reader", "in")).size, 0);
    assert.deepEqual([await textsOf(log, 0), await textsOf(log, 1)], [[], []]);
    await log.commit(writer, {
      outputs: [0, 1].map((partition) => ({ log: "out", partition, records: records("done") })),
      positions: [{ reader: "reader", log: "in", partition: 0, position: 1n }],
    });
    assert.equal((await log.positions("reader", "in")).get(0), 1n);
    assert.deepEqual([await textsOf(log, 0), await textsOf(log, 1)], [["done"], ["done"]]);
  });

  test("holds others up until Kafka has given its commit up: they miss nothing and see nothing of it", async (t) => {
    const log = await afterTheCrash(t, 1_000);
    const [behind] = await log.append({ log: "out", partition: 0, records: records("behind it") });
    const { first, next } = (await log.describe("out")).partitions[0]!;
    assert.ok(first === behind && next > behind!, "it is waited for");
    assert.deepEqual([await textsOf(log, 0), await textsOf(log, 1)], [["behind it"], []]);
    assert.equal((await log.positions("reader", "in")).size, 0);
  });
});

test("every input counts once in the outputs of a pipe, although its broker is killed again and again", {
  skip: process.env.TENON_SLOW === "1" ? kafkaServerMissing : "starts a Java machine three times: npm run test:slow",
  timeout: 400_000,
}, async (t) => {
  const broker = await startKafkaServer();
  t.after(() => broker.dispose());
  const server = { host: "127.0.0.1", port: broker.port };
  const options = { commandTimeoutMs: 1_000, connectTimeoutMs: 60_000 };
  const [writing, reading] = [await startKafka(server, "tenon", options), await startKafka(server, "tenon", options)];
  t.after(() => Promise.all([writing.engine.close(), reading.engine.close()]));
  let kills = 0;
  let killing = Promise.resolve();
  const kill = () => {
    kills += 1;
    killing = killing.then(async () => {
      await broker.stop();
      await broker.start();
    });
  };
  await assertCopiedOnce(writing.engine, reading.engine, 200, "exactly-once", (times) => {
    if (times === 20 || times === 150) kill();
  });
  await killing;
  assert.equal(kills, 2);
});
