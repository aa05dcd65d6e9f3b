/** The ZooKeeper engine for conformance cases: each subject under a root of its own, which it removes at its end. */
import { randomUUID } from "node:crypto";
import type { ConformanceHost } from "tenon/conformance";
import { type Connection, systemWorld } from "tenon/world";
import { type ZookeeperEngine, type ZookeeperOptions, zookeeper } from "tenon/zookeeper";
import { ZookeeperSession } from "../src/engines/zookeeper/session.ts";
import { mortalWorld } from "./mortal-world.ts";

export interface ZookeeperProcess {
  readonly engine: ZookeeperEngine;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

export function testRoot(): string {
  return `/tenon_test_${randomUUID().slice(0, 13)}`;
}

export function serverOf(url: string): string {
  return new URL(url).host;
}

const never = new Promise<never>(() => undefined);

export async function startZookeeper(
  url: string,
  root: string,
  options: Partial<ZookeeperOptions> = {},
): Promise<ZookeeperProcess> {
  const world = mortalWorld(systemWorld());
  const connections: Connection[] = [];
  let isDead = false;
  const connect: typeof world.network.connect = async (address, how) => {
    if (isDead) return never;
    const connection = await world.network.connect(address, how);
    connections.push(connection);
    if (isDead) connection.destroy();
    const hears = <T>(answer: Promise<T>): Promise<T> =>
      answer.then(
        (value) => (isDead ? never : value),
        (error) => (isDead ? never : Promise.reject(error)),
      );
    return {
      remote: connection.remote,
      write: (bytes) => hears(connection.write(bytes)),
      read: () => hears(connection.read()),
      close: () => connection.close(),
      destroy: () => connection.destroy(),
    };
  };
  const engine = await zookeeper({ servers: [serverOf(url)], connect, root, world, nodes: "make", ...options });
  return {
    engine,
    async die() {
      isDead = true;
      await world.die();
      for (const connection of connections) connection.destroy();
    },
  };
}

export function zookeeperHost(url: string): ConformanceHost<ZookeeperEngine> {
  return {
    async start() {
      const root = testRoot();
      let process = await startZookeeper(url, root);
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          process = await startZookeeper(url, root);
        },
        async stop() {
          await process.engine.close();
          await removeNodes(url, root);
        },
      };
    },
  };
}

/** A session of the test's own. */
export async function direct<T>(url: string, work: (session: ZookeeperSession) => Promise<T>): Promise<T> {
  const world = systemWorld();
  const { hostname: host, port } = new URL(url);
  const connection = await world.network.connect({ host, port: Number(port) });
  const settings = { world, timeoutMs: 10_000, credentials: [], lastChange: 0, told: () => undefined };
  const session = await ZookeeperSession.open(connection, settings);
  try {
    return await work(session);
  } finally {
    await session.leave();
  }
}

export async function removeNodes(url: string, root: string): Promise<void> {
  await direct(url, async (session) => {
    const paths = await under(session, root);
    await session.transact(paths.reverse().map((path) => ({ type: "remove", path, version: -1 })));
  });
}

/** Parents first. */
async function under(session: ZookeeperSession, path: string): Promise<string[]> {
  const children = await session.getChildren(path);
  const deeper = await Promise.all(children.map((child) => under(session, `${path}/${child}`)));
  return [path, ...deeper.flat()];
}
