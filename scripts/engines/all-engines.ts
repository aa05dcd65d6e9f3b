import type { Engine } from "./engine.ts";
import { etcd } from "./etcd.ts";
import { kafka } from "./kafka.ts";
import { mariadb } from "./mariadb.ts";
import { nats } from "./nats.ts";
import { postgres } from "./postgres.ts";
import { rabbitmq } from "./rabbitmq.ts";
import { redis, redisCluster, redisQuorum, redisSentinel } from "./redis.ts";
import { zookeeper } from "./zookeeper.ts";

/** In the order in which they are started: those that take long are not left to the end. */
export const allEngines: readonly Engine[] = [
  redis,
  redisCluster,
  redisSentinel,
  redisQuorum,
  postgres,
  kafka,
  rabbitmq,
  mariadb,
  zookeeper,
  nats,
  etcd,
];
