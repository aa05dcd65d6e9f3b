/** Quorums of real Redis servers for conformance cases: each subject under a prefix of its own, whose keys it removes at its end. */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import type { ConformanceHost } from "tenon/conformance";
import { foundRedisQuorum, type RedisQuorum, type RedisQuorumOptions, redisQuorum } from "tenon/redis";
import { systemWorld, type World } from "tenon/world";
import { mortalWorld } from "./mortal-world.ts";
import { removeKeys } from "./redis-messages-host.ts";

export interface QuorumProcess extends AsyncDisposable {
  readonly engine: RedisQuorum;
  readonly clients: ReadonlySet<Redis>;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

export interface QuorumOptions {
  readonly urls: readonly string[];
  readonly prefix: string;
  readonly world?: World;
  readonly more?: Partial<RedisQuorumOptions>;
}

/** A process' own engine on the quorum. */
export async function startQuorum({
  urls,
  prefix,
  world = systemWorld(),
  more = {},
}: QuorumOptions): Promise<QuorumProcess> {
  const mortal = mortalWorld(world);
  const clients = new Set<Redis>();
  const connect = urls.map((url) => () => {
    const client = quorumClient(url);
    clients.add(client.on("end", () => clients.delete(client)));
    return client;
  });
  const engine = await redisQuorum({ connect, prefix, serverTimeoutMs: 1_000, world: mortal, ...more });
  return {
    engine,
    clients,
    async die() {
      await mortal.die();
      for (const client of clients) client.disconnect();
    },
    [Symbol.asyncDispose]: () => engine.close(),
  };
}

export async function foundPrefix(urls: readonly string[], more: Partial<RedisQuorumOptions> = {}): Promise<string> {
  const prefix = `tenon-test-${randomUUID()}`;
  await foundRedisQuorum({ connect: urls.map((url) => () => quorumClient(url)), prefix, ...more });
  return prefix;
}

/** `urls` of servers of which `reachable` answer; `nextPrefix` answers a prefix that was founded. */
export function quorumHost(
  urls: readonly string[],
  reachable: readonly string[],
  nextPrefix: () => Promise<string>,
): ConformanceHost<RedisQuorum> {
  return {
    async start() {
      const prefix = await nextPrefix();
      let process = await startQuorum({ urls, prefix });
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          process = await startQuorum({ urls, prefix });
        },
        async stop() {
          await process.engine.close();
          const nodes = reachable.map((url) => new Redis(url));
          await removeKeys(nodes, prefix);
          for (const node of nodes) node.disconnect();
        },
      };
    },
  };
}

export function quorumClient(url: string): Redis {
  return new Redis(url, { autoResendUnfulfilledCommands: false, retryStrategy: () => 50 }).on("error", () => undefined);
}
