/** `close()` with everything open, in every state that a connection can be in. Nothing but closing ends a wait here: the timeouts are long. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { TenonError } from "tenon/contracts";
import { mutex } from "tenon/coordination";
import { text, topic } from "tenon/messaging";
import type { RunEngine, RunSite } from "./run.ts";
import type { StormServer } from "./storm.ts";
import { type ProxiedConnection, startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

const slow = process.env.TENON_SLOW === "1";

const longMs = 600_000;

interface Surroundings {
  readonly server: StormServer;
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

async function surround(t: TestContext, site: RunSite): Promise<Surroundings> {
  const server = await site.startServer();
  t.after(async () => {
    await server.resume();
    await server.dispose();
  });
  const connected = (connection: ProxiedConnection) => surroundings.breakNew(connection);
  const proxy = await startTcpProxy({ serverPort: server.port, connected });
  t.after(() => proxy[Symbol.asyncDispose]());
  const surroundings: Surroundings = { server, proxy, breakNew: () => undefined };
  return surroundings;
}

/** Everything that an engine can be in the midst of. Each ends with the engine, and says so. */
async function keepBusy(engine: RunEngine): Promise<readonly Promise<unknown>[]> {
  const news = topic(engine, "news", { codec: text(), partitions: 2, groups: ["readers"], publishTimeoutMs: longMs });
  const handled = Promise.withResolvers<void>();
  const consumer = await news.consume("readers", () => handled.resolve(), { drainTimeoutMs: 100, sessionMs: longMs });
  await news.publish("before");
  await handled.promise;
  const { leases, world } = engine;
  const till = leases && mutex({ leases, world }, "till", { ttlMs: longMs, timeoutMs: 100 });
  await till?.acquire();
  const synced = Promise.withResolvers<void>();
  const watching = (async () => {
    for await (const event of engine.keyValue.watch("")) if (event.type === "synced") synced.resolve();
  })();
  await synced.promise;
  const ends: Promise<unknown>[] = [consumer.closed, watching];
  if (till !== undefined) ends.push(till.acquire({ waitMs: longMs }));
  for (const end of ends) end.catch(() => undefined);
  return ends;
}

/** More of it, with whatever is wrong. */
function ask(engine: RunEngine): readonly Promise<unknown>[] {
  const news = topic(engine, "news", { codec: text(), partitions: 2, groups: ["readers"], publishTimeoutMs: longMs });
  const asked = [
    engine.keyValue.commit([{ type: "add", key: "count", by: 1 }]),
    engine.keyValue.get(["count"]),
    news.publish("during"),
    news.consume("others", () => undefined),
    engine.leases?.acquire("other", { holder: "me", ttlMs: longMs, waitMs: 1_000 }) ?? Promise.resolve(),
  ];
  for (const each of asked) each.catch(() => undefined);
  return asked;
}

/** `sites`: by the client that their engines are given; one in turn for each state, all of them in the long rounds. */
export function closing(server: string, skip: string | false, sites: Readonly<Record<string, () => RunSite>>): void {
  const all = Object.entries(sites);
  describe(`an engine on ${server} closes`, { skip, concurrency: 4 }, () => {
    for (const [index, [state, enter]] of Object.entries(states).entries()) {
      for (const [client, make] of slow ? all : [all[index % all.length]!]) {
        test(`when ${state}, over ${client}, and so does all that is under way`, async (t) => {
          const site = make();
          const surroundings = await surround(t, site);
          const settings = { commandTimeoutMs: longMs, connectTimeoutMs: 30_000 };
          const engine = await site.open(surroundings.proxy.port, settings);
          await closes(engine, () => enter(surroundings));
        });
      }
    }

    for (const [client, make] of all) {
      test(`before it was open, over ${client}, when nobody answers`, async (t) => {
        const site = make();
        const surroundings = await surround(t, site);
        surroundings.breakNew = stallBoth;
        const settings = { commandTimeoutMs: longMs, connectTimeoutMs: 300 };
        await assert.rejects(site.open(surroundings.proxy.port, settings), {
          code: "unavailable",
          outcome: "not-applied",
        });
      });
    }
  });
}

async function closes(engine: RunEngine, enter: () => unknown): Promise<void> {
  const open = await keepBusy(engine);
  await enter();
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
}
