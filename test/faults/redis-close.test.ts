/** `close()` with everything open, in every state that a connection can be in. Nothing but closing ends a wait here: the timeouts are long. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { TenonError } from "tenon/contracts";
import { mutex } from "tenon/coordination";
import { text, topic } from "tenon/messaging";
import { type RedisEngine, redis } from "tenon/redis";
import { type RedisServer, redisServerMissing, startRedis } from "../redis-server.ts";
import { type ClientName, clientNames, clients } from "./run.ts";
import { type ProxiedConnection, startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

const slow = process.env.TENON_SLOW === "1";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const longMs = 600_000;

interface Surroundings {
  readonly server: RedisServer;
  readonly proxy: TcpProxy;
  /** What becomes of connections that are made from now on. */
  breakNew: (connection: ProxiedConnection) => void;
}

const each = (act: (connection: ProxiedConnection) => void) => {
  return ({ proxy }: Surroundings) => {
    for (const connection of proxy.connections) act(connection);
  };
};

/** Resolves when somebody has tried to connect again. */
async function afterReconnecting(surroundings: Surroundings, breakNew: (connection: ProxiedConnection) => void) {
  const tried = Promise.withResolvers<void>();
  surroundings.breakNew = (connection) => {
    breakNew(connection);
    tried.resolve();
  };
  surroundings.proxy.cutAll();
  await tried.promise;
}

const stallBoth = (connection: ProxiedConnection) => {
  connection.stall("request");
  connection.stall("reply");
};

const states: Readonly<Record<string, (surroundings: Surroundings) => unknown>> = {
  "nothing is wrong": () => undefined,
  "the server stands still": ({ server }) => server.pause(),
  "the server has just died": ({ server }) => void server.stop(),
  "the server is gone": ({ server }) => server.stop(),
  "nobody listens": async ({ proxy }) => {
    await proxy.refuse();
    proxy.cutAll();
  },
  "all is held": each(stallBoth),
  "requests are lost": each((connection) => connection.drop("request")),
  "replies are lost": each((connection) => connection.drop("reply")),
  "the server has forgotten the connections": each((connection) => connection.halfOpen("client")),
  "a byte comes per second": each((connection) => connection.slow("reply", 1)),
  "a reply breaks off in the midst": each((connection) => connection.resetAfter("reply", 3)),
  "new connections are reset": (all) => afterReconnecting(all, (connection) => connection.resetAfter("request", 1)),
  "new connections are never answered": (all) => afterReconnecting(all, stallBoth),
  "new connections break off while they are set up": (all) =>
    afterReconnecting(all, (connection) => connection.resetAfter("reply", 20)),
};

async function surround(t: TestContext): Promise<Surroundings> {
  const server = await startRedis();
  t.after(() => {
    server.resume();
    return server.dispose();
  });
  const connected = (connection: ProxiedConnection) => surroundings.breakNew(connection);
  const proxy = await startTcpProxy({ serverPort: server.port, connected });
  t.after(() => proxy[Symbol.asyncDispose]());
  const surroundings: Surroundings = { server, proxy, breakNew: () => undefined };
  return surroundings;
}

/** Everything that an engine can be in the midst of. Each ends with the engine, and says so. */
async function keepBusy(engine: RedisEngine): Promise<readonly Promise<unknown>[]> {
  const news = topic(engine, "news", { codec: text(), partitions: 2, groups: ["readers"], publishTimeoutMs: longMs });
  const handled = Promise.withResolvers<void>();
  const consumer = await news.consume("readers", () => handled.resolve(), { drainTimeoutMs: 100, sessionMs: longMs });
  await news.publish("before");
  await handled.promise;
  const till = mutex(engine, "till", { ttlMs: longMs, timeoutMs: 100 });
  await till.acquire();
  const synced = Promise.withResolvers<void>();
  const watching = (async () => {
    for await (const event of engine.keyValue.watch("")) if (event.type === "synced") synced.resolve();
  })();
  await synced.promise;
  const waiting = till.acquire({ waitMs: longMs });
  const ends = [consumer.closed, watching, waiting];
  for (const end of ends) end.catch(() => undefined);
  return ends;
}

/** More of it, with whatever is wrong. */
function ask(engine: RedisEngine): readonly Promise<unknown>[] {
  const news = topic(engine, "news", { codec: text(), partitions: 2, groups: ["readers"], publishTimeoutMs: longMs });
  const asked = [
    engine.keyValue.commit([{ type: "add", key: "count", by: 1 }]),
    engine.keyValue.get(["count"]),
    news.publish("during"),
    news.consume("others", () => undefined),
    engine.leases.acquire("other", { holder: "me", ttlMs: longMs, waitMs: 1_000 }),
  ];
  for (const each of asked) each.catch(() => undefined);
  return asked;
}

describe("an engine closes", { skip: redisServerMissing, concurrency: 4 }, () => {
  for (const [index, [state, enter]] of Object.entries(states).entries()) {
    const chosen: readonly ClientName[] = slow ? clientNames : [clientNames[index % clientNames.length]!];
    for (const client of chosen) {
      test(`when ${state}, over ${client}, and so does all that is under way`, async (t) => {
        const surroundings = await surround(t);
        const connect = () => clients[client](`redis://127.0.0.1:${surroundings.proxy.port}`);
        const engine = await redis({ connect, commandTimeoutMs: longMs, connectTimeoutMs: 30_000 });
        const open = await keepBusy(engine);
        await enter(surroundings);
        const asked = ask(engine);
        await engine.close();
        for (const end of open) await assert.rejects(end, TenonError);
        for (const each of asked) {
          const error = await each.then(
            () => undefined,
            (reason: unknown) => reason,
          );
          // What was answered before it closed is answered.
          assert.ok(error === undefined || error instanceof TenonError, String(error));
        }
        await assert.rejects(engine.keyValue.get(["count"]), { code: "closed", outcome: "not-applied" });
      });
    }
  }

  for (const client of clientNames) {
    test(`before it was open, over ${client}, when nobody answers`, async (t) => {
      const surroundings = await surround(t);
      surroundings.breakNew = stallBoth;
      const connect = () => clients[client](`redis://127.0.0.1:${surroundings.proxy.port}`);
      await assert.rejects(redis({ connect, commandTimeoutMs: longMs, connectTimeoutMs: 300 }), {
        code: "unavailable",
        outcome: "not-applied",
      });
    });
  }
});
