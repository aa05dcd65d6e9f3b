/** Single faults at a chosen instant. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { headers } from "@nats-io/transport-node";
import { type KeyValueChange, type Outcome, TenonError } from "tenon/contracts";
import { text, topic } from "tenon/messaging";
import { type NatsEngine, nats } from "tenon/nats";
import { natsConnection } from "../nats-host.ts";
import { NatsServer, natsServerMissing } from "../nats-server.ts";
import { natsBehindProxy as site } from "./nats-site.ts";
import { startTcpProxy } from "./tcp-proxy.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const put = (key: string, value: string): KeyValueChange => ({ type: "put", key, value: Buffer.from(value) });

async function read({ keyValue }: NatsEngine, key: string): Promise<string | undefined> {
  const [entry] = await keyValue.get([key]);
  return entry && Buffer.from(entry.value).toString();
}

function news(t: TestContext, engine: NatsEngine) {
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

describe("an engine on NATS", { skip: natsServerMissing, concurrency: 3 }, () => {
  test("publishes when the server is back what was published while it was gone, and what was there is still there", async (t) => {
    const { engine, auditor, server } = await site(t);
    const ours = news(t, engine);
    await ours.publish("before");
    await ours.publish("later", { delayMs: 3_600_000 });
    await engine.keyValue.commit([put("k", "1")]);
    await server.stop();
    const published = Promise.all(["one", "two", "three"].map((value) => ours.publish(value, { timeoutMs: 60_000 })));
    await server.start();
    assert.deepEqual(
      (await published).map(({ position }) => position),
      [1n, 2n, 3n],
    );
    assert.equal((await news(t, auditor).lag("readers")).messages, 4);
    assert.equal((await auditor.messages.describe("news")).delayedCount, 1);
    assert.equal(await read(auditor, "k"), "1");
  });

  test("gives up in time what cannot be published, and says what became of it", async (t) => {
    const { engine, auditor, connection, server } = await site(t, 600);
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
    const handled: string[] = [];
    const handle = (value: string) => {
      handled.push(value);
      if (value === "after") done.resolve();
    };
    const consumer = await news(t, auditor).consume("readers", handle, { concurrency: 1 });
    await done.promise;
    await consumer.close();
    assert.deepEqual(handled, ["before", "unanswered", "waiting", "after"]);
  });

  test("lets nothing that it had given up take effect behind what came later", async (t) => {
    const { engine, auditor, connection, proxy } = await site(t, 500);
    await engine.keyValue.commit([put("k", "first")]);
    connection.stall("request");
    await fails(engine.keyValue.commit([put("k", "second")]), "unavailable", "unknown");
    await engine.keyValue.commit([put("k", "third")]);
    connection.resume("request");
    await connection.closed;
    assert.ok(proxy.accepted > 1);
    assert.equal(await read(auditor, "k"), "third");
    assert.equal(await read(engine, "k"), "third");
  });

  test("delivers and shows changes when its connection is dead and nobody has said so", async (t) => {
    const { engine, auditor, proxy } = await site(t, 1_000);
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
    for (const connection of proxy.connections) connection.drop("reply");
    await theirs.publish("three");
    await auditor.keyValue.commit([put("k", "four")]);
    await until("three", "four");
    await consumer.close();
    await engine.close();
    await watching;
  });

  test("a member that was cut off beyond its session has lost its lane, and what it sends then is refused under its old fence", async (t) => {
    const { engine, auditor, connection, proxy } = await site(t);
    await engine.messages.declare("orders", { partitions: 1, groups: ["group"] });
    const messages = ["a", "b", "c"].map((value) => ({ body: Buffer.from(value) }));
    await auditor.messages.append({ topic: "orders", partition: 0, messages });
    const options = { sessionMs: 1_000, revokeMs: 1_000, windowMax: 100 };
    const zombie = await (await engine.messages.join("orders", "group", options)).nextLane();
    const fetched = await zombie.fetch(3);
    connection.stall("request");
    // Under way when it is cut off; it comes to the server when the lane is another's.
    const late = zombie.commit({ settled: fetched.map(({ position }) => position) });
    late.catch(() => undefined);
    const successor = await (
      await auditor.messages.join("orders", "group", { ...options, sessionMs: 30_000 })
    ).nextLane();
    assert.ok(successor.fence > zombie.fence);
    assert.ok(successor.suspectBelow > fetched.at(-1)!.position);
    connection.resume("request");
    await assert.rejects(late, { code: "lost" });
    assert.ok(zombie.lost.aborted);
    assert.equal((await auditor.messages.describe("orders")).groups[0]!.lanes[0]!.lag, 3);
    assert.equal((await successor.fetch(3)).length, 3);
    assert.ok(proxy.accepted >= 1);
  });

  test("is back soon although an attempt to connect broke in its midst, of which its client hears nothing", async (t) => {
    let broken = false;
    let wake: (() => void) | undefined;
    const server = await NatsServer.start();
    t.after(() => server.dispose());
    const proxy = await startTcpProxy({
      serverPort: server.port,
      connected(connection) {
        if (broken) connection.resetAfter("request", 1);
        wake?.();
      },
    });
    t.after(() => proxy[Symbol.asyncDispose]());
    const connect = () => natsConnection(`nats://tenon:tenon@127.0.0.1:${proxy.port}`);
    // Less than the client waits.
    const engine = await nats({ connect, headers, streams: "make", commandTimeoutMs: 15_000 });
    t.after(() => engine.close());
    broken = true;
    const accepted = proxy.accepted;
    proxy.cutAll();
    while (proxy.accepted === accepted) await new Promise<void>((resolve) => (wake = resolve));
    broken = false;
    await engine.keyValue.commit([put("k", "1")]);
  });
});
