import { Redis } from "ioredis";
import { type RedisEngine, redis } from "tenon/redis";

export interface RedisStoreOptions {
  readonly url: string;
  readonly prefix: string;
  /** How long the server may take to be reached. */
  readonly connectTimeoutMs?: number | undefined;
}

export function openRedis({ url, prefix, connectTimeoutMs }: RedisStoreOptions): Promise<RedisEngine> {
  return redis({ connect: () => connect(url), prefix, connectTimeoutMs });
}

/** Removes what a sale left on a server that others use too. */
export async function removeKeys(url: string, prefix: string): Promise<void> {
  const client = connect(url);
  try {
    for await (const keys of client.scanStream({ match: `${prefix}:*`, count: 1_000 })) {
      if ((keys as string[]).length > 0) await client.unlink(keys as string[]);
    }
  } finally {
    client.disconnect();
  }
}

function connect(url: string): Redis {
  return new Redis(url, { autoResendUnfulfilledCommands: false });
}
