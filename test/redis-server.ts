export {
  type RedisServer,
  type RedisServerOptions,
  redisServerMissing,
  startRedis,
} from "../scripts/engines/redis-server.ts";
