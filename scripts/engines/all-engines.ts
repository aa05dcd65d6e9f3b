import type { Engine } from "./engine.ts";
import { redis, redisCluster, redisQuorum, redisSentinel } from "./redis.ts";

/** In the order in which they are started. */
export const allEngines: readonly Engine[] = [redis, redisCluster, redisSentinel, redisQuorum];
