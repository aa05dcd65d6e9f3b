/** NATS servers of a run's, or a test's, own. */
import type { TestContext } from "node:test";
import { headers } from "@nats-io/transport-node";
import { type NatsEngine, nats } from "tenon/nats";
import { natsConnection } from "../nats-host.ts";
import { NatsServer } from "../nats-server.ts";
import type { RunSite } from "./run.ts";
import { type ProxiedConnection, startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

export function natsSite(): RunSite {
  return {
    startServer: () => NatsServer.start(),
    open(port, settings) {
      const connect = () => natsConnection(`nats://tenon:tenon@127.0.0.1:${port}`);
      return nats({ ...settings, connect, headers, streams: "make" });
    },
  };
}

/** An engine whose connections can be broken, and one beside it. */
export interface NatsBehindProxy {
  readonly server: NatsServer;
  readonly proxy: TcpProxy;
  /** Through the proxy. */
  readonly engine: NatsEngine;
  /** Around the proxy. */
  readonly auditor: NatsEngine;
  readonly connection: ProxiedConnection;
}

/** On a server of the test's own. */
export async function natsBehindProxy(t: TestContext, commandTimeoutMs = 20_000): Promise<NatsBehindProxy> {
  const server = await NatsServer.start();
  t.after(() => {
    server.resume();
    return server.dispose();
  });
  const proxy = await startTcpProxy({ serverPort: server.port });
  t.after(() => proxy[Symbol.asyncDispose]());
  const open = async (port: number, timeoutMs: number) => {
    const connect = () => natsConnection(`nats://tenon:tenon@127.0.0.1:${port}`);
    const settings = { connectTimeoutMs: 30_000, commandTimeoutMs: timeoutMs, streams: "make" as const };
    const engine = await nats({ connect, headers, ...settings });
    t.after(() => engine.close());
    return engine;
  };
  const engine = await open(proxy.port, commandTimeoutMs);
  const auditor = await open(server.port, 20_000);
  return { server, proxy, engine, auditor, connection: proxy.connections[0]! };
}
