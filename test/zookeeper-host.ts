/** The ZooKeeper engine for conformance cases: each subject under a root of its own, which it removes at its end. */
import { randomUUID } from "node:crypto";
import { type Client, createClient } from "node-zookeeper-client";
import type { ConformanceHost } from "tenon/conformance";
import { systemWorld } from "tenon/world";
import { type ZookeeperEngine, type ZookeeperOptions, zookeeper } from "tenon/zookeeper";
import { mortalWorld } from "./mortal-world.ts";

export interface ZookeeperProcess {
  readonly engine: ZookeeperEngine;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

export function testRoot(): string {
  return `/tenon_test_${randomUUID().slice(0, 13)}`;
}

export function hostOf(url: string): string {
  return new URL(url).host;
}

export async function startZookeeper(
  url: string,
  root: string,
  options: Partial<ZookeeperOptions> = {},
): Promise<ZookeeperProcess> {
  const world = mortalWorld(systemWorld());
  const clients: Client[] = [];
  const connect = () => {
    const client = createClient(hostOf(url), { sessionTimeout: 5_000 });
    clients.push(client);
    return client;
  };
  const engine = await zookeeper({ connect, root, world, nodes: "make", ...options });
  return {
    engine,
    async die() {
      await world.die();
      for (const client of clients) destroy(client);
    },
  };
}

/** As a process that is killed: nobody takes leave, and no callback comes any more. */
export function destroy(client: Client): void {
  const { connectionManager } = client as unknown as {
    connectionManager: {
      socket?: { removeAllListeners(): void; destroy(): void; on(event: string, f: () => void): void };
    };
  };
  connectionManager.socket?.removeAllListeners();
  connectionManager.socket?.on("error", () => undefined);
  connectionManager.socket?.destroy();
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

export async function direct<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = createClient(hostOf(url), { sessionTimeout: 5_000 });
  await new Promise<void>((resolve) => {
    client.once("connected", () => resolve());
    client.connect();
  });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

export async function removeNodes(url: string, root: string): Promise<void> {
  await direct(url, (client) => removeAll(client, root));
}

async function removeAll(client: Client, path: string): Promise<void> {
  const children = await new Promise<readonly string[]>((resolve) => {
    client.getChildren(path, (error, found) => resolve(error ? [] : found));
  });
  await Promise.all(children.map((child) => removeAll(client, `${path}/${child}`)));
  await new Promise<void>((resolve) => {
    client.remove(path, () => resolve());
  });
}
