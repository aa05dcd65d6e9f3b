/** The `messages` of the Redis engine for conformance cases: each subject under a prefix of its own, which it removes at its end. */
import { randomUUID } from "node:crypto";
import { Cluster, Redis } from "ioredis";
import { createClient } from "redis";
import type { ConformanceHost, MessagesEngine } from "tenon/conformance";
import { systemWorld } from "tenon/world";
import type { RedisClient } from "../src/engines/redis/clients.ts";
import type { Connection } from "../src/engines/redis/connection.ts";
import { RedisMessages } from "../src/engines/redis/messages/redis-messages.ts";
import { RedisConnection } from "../src/engines/redis/redis-connection.ts";
import { type MortalWorld, mortalWorld } from "./mortal-world.ts";

export interface RedisFlavour {
  readonly name: string;
  readonly connect: () => RedisClient;
  /** One client for each server that holds keys. */
  readonly nodes: () => Promise<readonly Redis[]>;
}

export function ioredisFlavour(url: string): RedisFlavour {
  return {
    name: "ioredis",
    connect: () => quiet(new Redis(url, { autoResendUnfulfilledCommands: false })),
    nodes: async () => [new Redis(url)],
  };
}

export function nodeRedisFlavour(url: string): RedisFlavour {
  return { name: "node-redis", connect: () => quiet(createClient({ url })), nodes: async () => [new Redis(url)] };
}

export function ioredisClusterFlavour(urls: readonly string[]): RedisFlavour {
  return {
    name: "ioredis on a cluster",
    connect: () =>
      quiet(
        new Cluster([...urls], { retryDelayOnFailover: 0, redisOptions: { autoResendUnfulfilledCommands: false } }),
      ),
    nodes: async () => urls.map((url) => new Redis(url)),
  };
}

/** The engine reports failures; clients must not bring the process down beside it. */
function quiet<Client extends { on(event: "error", listener: () => void): unknown }>(client: Client): Client {
  client.on("error", () => undefined);
  return client;
}

export interface Process extends MessagesEngine {
  readonly messages: RedisMessages;
  readonly world: MortalWorld;
  /** Ends without a goodbye. */
  die(): Promise<void>;
}

export interface ProcessOptions {
  readonly commandTimeoutMs?: number | undefined;
  /** What stands between the engine and its connection, to lose what goes through. */
  readonly through?: ((connection: Connection) => Connection) | undefined;
}

/** One engine, as a process of its own would have it. */
export async function startProcess(
  flavour: RedisFlavour,
  prefix: string,
  { commandTimeoutMs = 5_000, through = (connection) => connection }: ProcessOptions = {},
): Promise<Process> {
  const world = mortalWorld(systemWorld());
  const clients: RedisClient[] = [];
  const connect = () => {
    const client = flavour.connect();
    clients.push(client);
    return client;
  };
  const connection = await RedisConnection.open({ world, connect, commandTimeoutMs, connectTimeoutMs: 10_000 });
  const messages = new RedisMessages(through(connection), { prefix, world, survives: "process" });
  return {
    messages,
    world,
    async close() {
      await messages.close();
      await connection.close();
    },
    async die() {
      await world.die();
      await connection.close();
    },
  };
}

/** How soon the session of a process that died ends. */
const sessionLeftMs = 100;

export function redisMessagesHost(flavour: RedisFlavour): ConformanceHost<MessagesEngine> {
  return {
    async start() {
      const prefix = `tenon-test-${randomUUID()}`;
      const nodes = await flavour.nodes();
      let engine = await startProcess(flavour, prefix);
      return {
        get engine() {
          return engine;
        },
        async crash() {
          await engine.die();
          await endSessionsSoon(nodes, prefix);
          engine = await startProcess(flavour, prefix);
        },
        async stop() {
          await engine.close();
          await removeKeys(nodes, prefix);
          for (const node of nodes) node.disconnect();
        },
      };
    },
  };
}

/** As if the members had joined with short sessions, which a busy machine could end while they live. */
async function endSessionsSoon(nodes: readonly Redis[], prefix: string): Promise<void> {
  for (const node of nodes) {
    const [seconds, microseconds] = (await node.time()).map(Number);
    const ends = String(seconds! * 1_000 + Math.floor(microseconds! / 1_000) + sessionLeftMs);
    for (const key of await keysOf(node, `${prefix}:*:m`)) {
      if ((await node.type(key)) !== "zset") continue;
      for (const member of await node.zrange(key, 0, -1)) await node.zadd(key, ends, member);
    }
  }
}

export async function removeKeys(nodes: readonly Redis[], prefix: string): Promise<void> {
  for (const node of nodes) {
    const keys = await keysOf(node, `${prefix}:*`);
    for (const key of keys) await node.unlink(key);
  }
}

async function keysOf(node: Redis, pattern: string): Promise<string[]> {
  if (!(await node.info("replication")).includes("role:master")) return [];
  const keys: string[] = [];
  let cursor = "0";
  do {
    const [next, found] = await node.scan(cursor, "MATCH", pattern, "COUNT", 1_000);
    cursor = next;
    keys.push(...found);
  } while (cursor !== "0");
  return keys;
}
