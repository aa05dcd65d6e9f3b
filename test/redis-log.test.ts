/** Logs on Redis where replies and notices are lost, and what stands in the server. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, describe, type TestContext, test } from "node:test";
import { Redis } from "ioredis";
import { TenonError } from "tenon/contracts";
import { redis } from "tenon/redis";
import { systemWorld } from "tenon/world";
import type { Connection } from "../src/engines/redis/connection.ts";
import { RedisLog } from "../src/engines/redis/log/redis-log.ts";
import { RedisConnection } from "../src/engines/redis/redis-connection.ts";
import { assertCopiedOnce } from "./copied-once.ts";
import { engine } from "./engines.ts";
import { startTcpProxy } from "./faults/tcp-proxy.ts";
import { ioredisClusterFlavour, ioredisFlavour, type RedisFlavour, removeKeys } from "./redis-messages-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const single = await engine("redis");
const cluster = await engine("redis-cluster");

interface Streams {
  readonly log: RedisLog;
  readonly world: ReturnType<typeof systemWorld>;
}

/** Logs under a prefix of the test's own, which are removed at its end. */
async function streams(
  t: TestContext,
  flavour: RedisFlavour,
  through: (connection: Connection) => Connection = (connection) => connection,
  prefix = `tenon-test-${randomUUID()}`,
): Promise<Streams> {
  const world = systemWorld();
  const { connect } = flavour;
  const connection = await RedisConnection.open({ world, connect, commandTimeoutMs: 5_000, connectTimeoutMs: 10_000 });
  const made = new RedisLog(through(connection), { prefix, world, survives: "process" });
  t.after(async () => {
    made.close(new TenonError("closed", "the test has ended"));
    await connection.close();
    const nodes = await flavour.nodes();
    await removeKeys(nodes, prefix);
    for (const node of nodes) node.disconnect();
  });
  return { log: made, world };
}

/** Carries scripts out, and loses what they answer when `loses` says so. */
function losing(loses: (script: string) => boolean): (connection: Connection) => Connection {
  return (connection) => ({
    isCluster: connection.isCluster,
    command: (key, args) => connection.command(key, args),
    listen: (channel, listener) => connection.listen(channel, listener),
    close: () => connection.close(),
    async run(script, keys, args) {
      const reply = await connection.run(script, keys, args);
      if (!loses(script.name)) return reply;
      throw new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });
    },
  });
}

for (const [skip, flavour] of [
  [single.skip, () => ioredisFlavour(single.url)],
  [cluster.skip, () => ioredisClusterFlavour(cluster.urls)],
] as const) {
  describe(`logs on Redis${flavour === undefined ? "" : skip ? "" : `: ${flavour().name}`}`, { skip }, () => {
    test("every input counts once in the outputs of a pipe, although replies of all kinds are lost", async (t) => {
      const prefix = `tenon-test-${randomUUID()}`;
      let replies = 0;
      const random = () => {
        replies += 1;
        return Math.random();
      };
      const lossy = await streams(
        t,
        flavour(),
        losing(() => random() < 0.08),
        prefix,
      );
      await assertCopiedOnce(lossy, await streams(t, flavour(), undefined, prefix), 200, "at-least-once");
      assert.ok(replies > 100, `${replies} replies`);
    });

    test("a reader is woken by what is appended elsewhere, and comes to it also when no notice arrives", async (t) => {
      const prefix = `tenon-test-${randomUUID()}`;
      const writer = await streams(t, flavour(), undefined, prefix);
      const hasLooked = Promise.withResolvers<void>();
      const deaf = await streams(
        t,
        flavour(),
        (connection) => ({
          isCluster: connection.isCluster,
          command: (key, args) => connection.command(key, args),
          async run(script, keys, args) {
            const reply = await connection.run(script, keys, args);
            if (script.name.endsWith("read")) hasLooked.resolve();
            return reply;
          },
          listen: async () => async () => undefined,
          close: () => connection.close(),
        }),
        prefix,
      );
      await writer.log.declare("clicks", { partitions: 2 });
      const request = { log: "clicks", partition: 1, from: 0n, limit: 1, waitMs: 60_000 };
      const reads = [writer.log.read(request), deaf.log.read(request)];
      await hasLooked.promise;
      await writer.log.append({ log: "clicks", partition: 1, records: [{ body: Buffer.from("a") }] });
      for (const { records } of await Promise.all(reads)) assert.equal(Buffer.from(records[0]!.body).toString(), "a");
    });

    test("what a retention by size does not keep is gone from the server, and the rest is there", async (t) => {
      const { log: logs } = await streams(t, flavour());
      await logs.declare("clicks", { partitions: 1, retentionBytes: 10_000 });
      for (let n = 0; n < 100; n++)
        await logs.append({ log: "clicks", partition: 0, records: [{ body: Buffer.from(`${n} `.padEnd(500, ".")) }] });
      const { first, next } = (await logs.describe("clicks")).partitions[0]!;
      assert.equal(next, 100n);
      assert.ok(next - first >= 20n && next - first <= 21n, `${next - first} are kept`);
      await assert.rejects(logs.read({ log: "clicks", partition: 0, from: 0n, limit: 1 }), { code: "not-found" });
    });
  });
}

test("every input counts once although connections are cut again and again", { skip: single.skip }, async (t) => {
  const { port } = new URL(single.url);
  // Each connection breaks later than the one before it; a connection that never holds would let nothing through.
  let cuts = 0;
  const proxy = await startTcpProxy({
    serverPort: Number(port),
    connected(connection) {
      if (cuts >= 12) return;
      cuts += 1;
      connection.resetAfter(cuts % 2 === 0 ? "request" : "reply", 3_000 + cuts * 500);
    },
  });
  t.after(() => proxy[Symbol.asyncDispose]());
  const prefix = `tenon-test-${randomUUID()}`;
  const connect = () => ioredisFlavour(`redis://127.0.0.1:${proxy.port}`).connect();
  const world = systemWorld();
  const cutOff = await redis({ connect, prefix, world, commandTimeoutMs: 2_000 });
  t.after(() => cutOff.close());
  const reading = await streams(t, ioredisFlavour(single.url), undefined, prefix);
  await assertCopiedOnce(cutOff, reading, 300, "at-least-once");
  assert.ok(proxy.accepted > 6, `${proxy.accepted} connections`);
});

test("what was removed leaves nothing in the server but its number, and its writers' epochs", {
  skip: single.skip,
}, async (t) => {
  const prefix = `tenon-test-${randomUUID()}`;
  const { log: logs } = await streams(t, ioredisFlavour(single.url), undefined, prefix);
  await logs.declare("clicks", { partitions: 3 });
  await logs.append({ log: "clicks", partition: 2, records: [{ body: Buffer.from("a") }] });
  const writer = await logs.openWriter("writer", ["clicks"]);
  await logs.commit(writer, { positions: [{ reader: "reader", log: "clicks", partition: 2, position: 1n }] });
  await logs.remove("clicks");
  const node = new Redis(single.url);
  t.after(() => node.disconnect());
  const keys = (await node.keys(`${prefix}:*`)).map((key) => key.slice(prefix.length + 1)).sort();
  assert.deepEqual(keys, ["log-writers:{writer}", "logs:{clicks}:i"]);
});
