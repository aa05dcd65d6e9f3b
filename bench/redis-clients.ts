import { Redis } from "ioredis";
import { type RedisEngine, redis } from "../src/engines/redis/index.ts";

/** A bare client of the server on this port of loopback. */
export async function redisClient(port: number): Promise<Redis> {
  const client = new Redis({ host: "127.0.0.1", port });
  await client.ping();
  return client;
}

export function redisEngine(port: number): Promise<RedisEngine> {
  return redis({ connect: () => new Redis({ host: "127.0.0.1", port, autoResendUnfulfilledCommands: false }) });
}

/** Forgets everything that is stored. */
export async function emptyRedis(port: number): Promise<void> {
  const client = await redisClient(port);
  await client.flushall();
  client.disconnect();
}
