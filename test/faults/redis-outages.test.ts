/** Single faults at a chosen instant, through both clients. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { type KeyValueChange, type Outcome, TenonError } from "tenon/contracts";
import { text, topic } from "tenon/messaging";
import { type RedisEngine, redis } from "tenon/redis";
import { redisCommand } from "../../scripts/engines/redis-protocol.ts";
import { type RedisServer, redisServerMissing, startRedis } from "../redis-server.ts";
import { type ClientName, clientNames, clients } from "./run.ts";
import { type ProxiedConnection, startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

interface Site {
  readonly server: RedisServer;
  readonly proxy: TcpProxy;
  /** Through the proxy. */
  readonly engine: RedisEngine;
  /** Around the proxy. */
  readonly auditor: RedisEngine;
  /** The one that commands go over. The engine opens it first. */
  readonly connection: ProxiedConnection;
}

async function site(t: TestContext, client: ClientName, commandTimeoutMs = 20_000): Promise<Site> {
  const server = await startRedis();
  t.after(() => {
    server.resume();
    return server.dispose();
  });
  return { server, ...(await way(t, client, server, commandTimeoutMs)) };
}

async function way(
  t: TestContext,
  client: ClientName,
  { url, port }: RedisServer,
  commandTimeoutMs = 20_000,
  prefix = "tenon",
) {
  const proxy = await startTcpProxy({ serverPort: port });
  t.after(() => proxy[Symbol.asyncDispose]());
  const settings = { connectTimeoutMs: 30_000, prefix };
  const connect = () => clients[client](`redis://127.0.0.1:${proxy.port}`);
  const engine = await redis({ ...settings, connect, commandTimeoutMs });
  t.after(() => engine.close());
  const auditor = await redis({ ...settings, connect: () => clients[client](url) });
  t.after(() => auditor.close());
  return { proxy, engine, auditor, connection: proxy.connections[0]! };
}

const put = (key: string, value: string): KeyValueChange => ({ type: "put", key, value: Buffer.from(value) });

async function read({ keyValue }: RedisEngine, key: string): Promise<string | undefined> {
  const [entry] = await keyValue.get([key]);
  return entry && Buffer.from(entry.value).toString();
}

function news(t: TestContext, engine: RedisEngine) {
  const made = topic(engine, "news", { codec: text(), partitions: 1, groups: ["readers"] });
  t.after(() => made.close());
  return made;
}

async function fails(promise: Promise<unknown>, code: string, outcome: Outcome): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof TenonError, String(error));
    assert.deepEqual([error.code, error.outcome], [code, outcome], error.message);
    return true;
  });
}

for (const client of clientNames) {
  describe(`an engine over ${client}`, { skip: redisServerMissing, concurrency: 3 }, () => {
    test("stores a message once whose first reply was lost", async (t) => {
      const { engine, auditor, connection } = await site(t, client);
      const ours = news(t, engine);
      const first = await ours.publish("first");
      connection.loseReply();
      const second = await ours.publish("second");
      await connection.closed;
      assert.equal(second.position, first.position! + 1n);
      assert.equal((await news(t, auditor).lag("readers")).messages, 2);
    });

    test("says of a commit whose reply was lost that nobody knows, and does it once", async (t) => {
      const { engine, auditor, connection } = await site(t, client);
      connection.loseReply();
      const added = engine.keyValue.commit([{ type: "add", key: "count", by: 1 }]);
      await fails(added, "unavailable", "unknown");
      assert.equal(await read(engine, "count"), "1");
      assert.equal(await read(auditor, "count"), "1");
    });

    test("stores once what it publishes while requests and replies break off at any byte", async (t) => {
      const server = await startRedis();
      t.after(() => server.dispose());
      const offsets = [1, 2, 3, 7, 20, 60, 150, 400];
      const cases = offsets.flatMap((bytes) => [
        { bytes, direction: "request" as const },
        { bytes: Math.min(bytes, 30), direction: "reply" as const },
      ]);
      await Promise.all(
        cases.map(async ({ bytes, direction }, index) => {
          const { engine, auditor, connection } = await way(t, client, server, 20_000, `case-${index}`);
          const ours = news(t, engine);
          await ours.publish("first");
          connection.resetAfter(direction, bytes);
          const receipts = await Promise.all(["second", "third", "fourth"].map((value) => ours.publish(value)));
          const where = `a reset after ${bytes} bytes of a ${direction}`;
          assert.deepEqual(
            receipts.map(({ position }) => position),
            [1n, 2n, 3n],
            where,
          );
          assert.equal((await news(t, auditor).lag("readers")).messages, 4, where);
        }),
      );
    });

    test("publishes when the server is back what was published while it was gone", async (t) => {
      const { engine, auditor, server } = await site(t, client);
      const ours = news(t, engine);
      await ours.publish("before");
      await server.stop();
      const published = Promise.all(["one", "two", "three"].map((value) => ours.publish(value, { timeoutMs: 60_000 })));
      await server.start();
      assert.deepEqual(
        (await published).map(({ position }) => position),
        [1n, 2n, 3n],
      );
      assert.equal((await news(t, auditor).lag("readers")).messages, 4);
    });

    test("gives up in time what cannot be published, and says what became of it", async (t) => {
      const { engine, auditor, connection, server } = await site(t, client, 600);
      const ours = news(t, engine);
      await ours.publish("before");
      connection.drop("reply");
      await fails(ours.publish("unanswered", { timeoutMs: 200 }), "timeout", "unknown");
      await server.stop();
      // The engine knows by now that there is no connection, and what was under way is over.
      await connection.closed;
      await fails(engine.keyValue.commit([put("k", "1")]), "unavailable", "not-applied");
      const waiting = ours.publish("waiting", { timeoutMs: 60_000 });
      await setImmediate();
      await fails(ours.publish("unsent", { timeoutMs: 200 }), "timeout", "not-applied");
      await server.start();
      await waiting;
      await ours.publish("after", { timeoutMs: 60_000 });
      const done = Promise.withResolvers<void>();
      const read: string[] = [];
      const handle = (value: string) => {
        read.push(value);
        if (value === "after") done.resolve();
      };
      const consumer = await news(t, auditor).consume("readers", handle, { concurrency: 1 });
      await done.promise;
      await consumer.close();
      assert.deepEqual(read, ["before", "unanswered", "waiting", "after"]);
    });

    test("lets nothing that it had given up take effect behind what came later", async (t) => {
      const { engine, auditor, connection, proxy } = await site(t, client, 500);
      await engine.keyValue.commit([put("k", "first")]);
      connection.stall("request");
      await fails(engine.keyValue.commit([put("k", "second")]), "unavailable", "unknown");
      await engine.keyValue.commit([put("k", "third")]);
      connection.resume("request");
      await connection.closed;
      assert.ok(proxy.accepted > 1);
      // Whatever the server had got before its side was closed is done before this.
      assert.equal(await read(auditor, "k"), "third");
      assert.equal(await read(engine, "k"), "third");
    });

    test("connects anew where it is forbidden to end its former connections", async (t) => {
      const { server, auditor } = await site(t, client);
      await redisCommand(server.url, "ACL", "SETUSER", "app", "on", ">word", "~*", "&*", "+@all", "-client|kill");
      const proxy = await startTcpProxy({ serverPort: server.port });
      t.after(() => proxy[Symbol.asyncDispose]());
      const engine = await redis({ connect: () => clients[client](`redis://app:word@127.0.0.1:${proxy.port}`) });
      t.after(() => engine.close());
      for (const value of ["1", "2", "3"]) {
        await engine.keyValue.commit([put("k", value)]);
        proxy.connections[0]!.loseReply();
        await fails(engine.keyValue.commit([put("k", `${value} again`)]), "unavailable", "unknown");
        assert.equal(await read(auditor, "k"), `${value} again`);
      }
    });

    test("delivers and shows changes when its subscriptions are dead and nobody has said so", async (t) => {
      const { engine, auditor, proxy } = await site(t, client);
      const received = new Set<string>();
      let wake: (() => void) | undefined;
      const until = async (...values: string[]) => {
        while (!values.every((value) => received.has(value))) await new Promise<void>((resolve) => (wake = resolve));
      };
      const note = (value: string) => {
        received.add(value);
        wake?.();
      };
      const consumer = await news(t, engine).consume("readers", note);
      t.after(() => consumer.close());
      const watching = (async () => {
        for await (const event of engine.keyValue.watch("", { signal: engine.ended })) {
          if (event.type === "put") note(Buffer.from(event.entry.value).toString());
        }
      })();
      const theirs = news(t, auditor);
      await theirs.publish("one");
      await auditor.keyValue.commit([put("k", "two")]);
      await until("one", "two");
      for (const connection of proxy.connections.slice(1)) connection.drop("reply");
      await theirs.publish("three");
      await auditor.keyValue.commit([put("k", "four")]);
      await until("three", "four");
      await consumer.close();
      await engine.close();
      await watching;
    });

    test("tries again with growing pauses while nobody lets it in", async (t) => {
      let broken = false;
      const server = await startRedis();
      t.after(() => server.dispose());
      let wake: (() => void) | undefined;
      const proxy = await startTcpProxy({
        serverPort: server.port,
        connected(connection) {
          if (broken) connection.resetAfter("request", 1);
          wake?.();
        },
      });
      t.after(() => proxy[Symbol.asyncDispose]());
      const engine = await redis({
        connect: () => clients[client](`redis://127.0.0.1:${proxy.port}`),
        connectTimeoutMs: 30_000,
      });
      t.after(() => engine.close());
      broken = true;
      const [started, accepted] = [performance.now(), proxy.accepted];
      proxy.cutAll();
      // At full speed they would be made within some milliseconds.
      while (proxy.accepted < accepted + 6) await new Promise<void>((resolve) => (wake = resolve));
      assert.ok(performance.now() - started >= 300, `six attempts took ${performance.now() - started} ms`);
      broken = false;
      await engine.keyValue.commit([put("k", "1")]);
    });
  });
}
