/** The Redis engine for conformance cases: each subject under a prefix of its own, whose keys it removes at its end. */
import { randomUUID } from "node:crypto";
import type { ConformanceHost } from "tenon/conformance";
import { type IoredisCluster, type RedisClient, type RedisEngine, redis } from "tenon/redis";
import { systemWorld } from "tenon/world";
import { mortalWorld } from "./mortal-world.ts";
import { type RedisFlavour, removeKeys } from "./redis-messages-host.ts";

export interface RedisProcess {
  readonly engine: RedisEngine;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

export async function startEngine(flavour: RedisFlavour, prefix: string): Promise<RedisProcess> {
  const world = mortalWorld(systemWorld());
  const clients: RedisClient[] = [];
  const connect = () => {
    const client = flavour.connect();
    clients.push(client);
    if ("nodes" in client) noteDuplicates(client, clients);
    return client;
  };
  const engine = await redis({ connect, prefix, world });
  return {
    engine,
    async die() {
      await world.die();
      for (const client of clients) {
        if ("disconnect" in client && "callBuffer" in client) client.disconnect();
        else if ("destroy" in client && client.isOpen) client.destroy();
      }
    },
  };
}

/** The engine makes the client for its subscriptions from one of the cluster's nodes. */
function noteDuplicates(cluster: IoredisCluster, clients: RedisClient[]): void {
  const nodes = cluster.nodes.bind(cluster);
  cluster.nodes = (role) =>
    nodes(role).map((node) => ({
      duplicate(override) {
        const client = node.duplicate(override);
        clients.push(client);
        return client;
      },
    }));
}

export function redisHost(flavour: RedisFlavour): ConformanceHost<RedisEngine> {
  return {
    async start() {
      const prefix = `tenon-test-${randomUUID()}`;
      let process = await startEngine(flavour, prefix);
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          process = await startEngine(flavour, prefix);
        },
        async stop() {
          await process.engine.close();
          const nodes = await flavour.nodes();
          await removeKeys(nodes, prefix);
          for (const node of nodes) node.disconnect();
        },
      };
    },
  };
}
