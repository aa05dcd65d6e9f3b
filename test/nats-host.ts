/** The NATS engine for conformance cases: each subject under a prefix of its own, whose streams it removes at its end. */
import { randomUUID } from "node:crypto";
import type { TestContext } from "node:test";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import type { ConformanceHost } from "tenon/conformance";
import { type NatsEngine, type NatsEngineOptions, nats, natsStreams } from "tenon/nats";
import { systemWorld } from "tenon/world";
import { GroupState } from "../src/engines/lanes/index.ts";
import { closedAfter } from "./closed-after.ts";
import { mortalWorld } from "./mortal-world.ts";

/** Closed at the test's end, and the streams of its prefix removed. */
export function openNats(
  t: TestContext,
  url: string,
  options: Partial<NatsEngineOptions> & { readonly prefix: string },
): Promise<NatsEngine> {
  const opening = nats({ connect: () => natsConnection(url), headers, streams: "make", ...options });
  return closedAfter(t, opening, async (engine) => {
    await engine.close();
    await dropStreams(url, options.prefix);
  });
}

export interface NatsProcess {
  readonly engine: NatsEngine;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

export type ProcessOptions = Partial<Omit<NatsEngineOptions, "connect" | "headers" | "prefix" | "world">>;

export function testPrefix(): string {
  return `tenon_test_${randomUUID().replaceAll("-", "").slice(0, 16)}`;
}

/** The client takes no credentials from a URL. */
export function natsConnection(url: string): Promise<NatsConnection> {
  const { host, username, password } = new URL(url);
  return connect({
    servers: host,
    user: decodeURIComponent(username),
    pass: decodeURIComponent(password),
    ignoreClusterUpdates: true,
    noAsyncTraces: true,
  });
}

export async function startNats(url: string, prefix: string, options: ProcessOptions = {}): Promise<NatsProcess> {
  const world = mortalWorld(systemWorld());
  const connections: NatsConnection[] = [];
  let isDead = false;
  const never = new Promise<never>(() => undefined);
  const engine = await nats({
    headers,
    prefix,
    world,
    streams: "make",
    ...options,
    async connect() {
      if (isDead) return never;
      const connection = await natsConnection(url);
      connections.push(connection);
      const request = connection.request.bind(connection);
      connection.request = (...parameters) => (isDead ? never : request(...parameters).finally(() => isDead && never));
      return connection;
    },
  });
  return {
    engine,
    async die() {
      isDead = true;
      await world.die();
      for (const connection of connections) {
        // As a process that is killed: nobody takes leave.
        const inside = connection as unknown as { protocol: { transport: { socket?: { destroy(): void } } } };
        inside.protocol.transport.socket?.destroy();
        await connection.close();
      }
    },
  };
}

/** How soon the session of a process that died ends. */
const sessionLeftMs = 100;

export function natsHost(url: string, options: ProcessOptions = {}): ConformanceHost<NatsEngine> {
  return {
    async start() {
      const prefix = testPrefix();
      let process = await startNats(url, prefix, options);
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          await endSessionsSoon(url, prefix);
          process = await startNats(url, prefix, options);
        },
        async stop() {
          await process.engine.close();
          await dropStreams(url, prefix);
        },
      };
    },
  };
}

async function ask(connection: NatsConnection, name: string, request: object): Promise<Record<string, unknown>> {
  return (await connection.request(`$JS.API.${name}`, JSON.stringify(request), { timeout: 10_000 })).json();
}

/** As if the members had joined with short sessions, which a busy machine could end while they live. */
async function endSessionsSoon(url: string, prefix: string): Promise<void> {
  const connection = await natsConnection(url);
  try {
    const filter = { subjects_filter: `${prefix}.s.g.>` };
    const { state } = (await ask(connection, `STREAM.INFO.${prefix}_state`, filter)) as {
      state: { subjects?: Record<string, number> };
    };
    for (const subject of Object.keys(state.subjects ?? {})) {
      const found = await ask(connection, `STREAM.MSG.GET.${prefix}_state`, { last_by_subj: subject });
      const group = GroupState.decode(Buffer.from((found.message as { data: string }).data, "base64"));
      for (const member of group.memberIds) group.renew(member, sessionLeftMs, Date.now());
      await connection.request(subject, group.encode(), { timeout: 10_000 });
    }
  } finally {
    await connection.close();
  }
}

export async function dropStreams(url: string, prefix: string): Promise<void> {
  const connection = await natsConnection(url);
  try {
    for (const { name } of natsStreams(prefix)) await ask(connection, `STREAM.DELETE.${name}`, {});
  } finally {
    await connection.close();
  }
}
