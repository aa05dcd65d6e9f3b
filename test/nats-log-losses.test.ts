/** Logs on NATS where replies and notices are lost. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import type { NatsEngine, NatsEngineOptions } from "tenon/nats";
import { assertCopiedOnce } from "./copied-once.ts";
import { engine } from "./engines.ts";
import { startTcpProxy } from "./faults/tcp-proxy.ts";
import { natsConnection, openNats, testPrefix } from "./nats-host.ts";
import { keepAlive } from "./server-suites.ts";

keepAlive();

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
    await assertCopiedOnce(writing, reading, 200, "at-least-once");
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
    await assertCopiedOnce(cutOff, reading, 300, "at-least-once");
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
      await engine.log.append({ log: "clicks", partition: 1, records: [{ body: Buffer.from("a") }] });
      assert.equal(Buffer.from((await read).records[0]!.body).toString(), "a");
    }
  });
});
