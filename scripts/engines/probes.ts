/** Whether a server serves at an address: asked in its own protocol with what Node has, so that tests need no client for it. */
import type { EngineAddress, EngineName } from "./addresses.ts";
import { logIn } from "./amqp.ts";
import { askHealth } from "./etcd.ts";
import { askVersions } from "./kafka.ts";
import { logInToMySql } from "./mysql-protocol.ts";
import { askJetStream } from "./nats.ts";
import { logInToPostgres } from "./postgres-protocol.ts";
import { clusterIsWhole } from "./redis.ts";
import { redisCommand } from "./redis-protocol.ts";
import { askMode } from "./zookeeper.ts";

const probes: Readonly<Record<EngineName, (address: EngineAddress) => Promise<unknown>>> = {
  redis: ({ url }) => pong(url),
  "redis-cluster": ({ url }) => clusterIsWhole(url),
  "redis-sentinel": ({ url, primaryName }) => watches(url, primaryName),
  "redis-quorum": ({ urls }) => Promise.all(urls.map(pong)),
  postgres: ({ url }) => logInToPostgres(url),
  mariadb: ({ url }) => logInToMySql(url),
  rabbitmq: ({ url }) => logIn(url),
  nats: ({ url }) => askJetStream(url),
  etcd: ({ url }) => askHealth(url),
  zookeeper: ({ url }) => askMode(url),
  kafka: ({ url }) => askVersions(url),
};

/** Rejects with the reason when it does not serve, or does not know the user. */
export async function probe(address: EngineAddress): Promise<void> {
  await probes[address.name](address);
}

async function pong(url: string): Promise<void> {
  if ((await redisCommand(url, "PING")) !== "PONG") throw new Error("it does not answer PING");
}

async function watches(url: string, primaryName: string): Promise<void> {
  const primary = await redisCommand(url, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", primaryName);
  if (primary === null) throw new Error(`it watches no primary called ${primaryName}`);
}
