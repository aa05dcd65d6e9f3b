/** Whether a server answers at an address, asked in its own protocol, with what Node has. */
import type { EngineAddress, EngineName } from "./addresses.ts";
import { clusterIsWhole } from "./redis.ts";
import { redisCommand } from "./redis-protocol.ts";

const probes: Partial<Record<EngineName, (address: EngineAddress) => Promise<void>>> = {
  redis: ({ url }) => pong(url),
  "redis-cluster": ({ url }) => clusterIsWhole(url),
  "redis-sentinel": async ({ url, primaryName }) => {
    const primary = await redisCommand(url, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", primaryName);
    if (primary === null) throw new Error(`it watches no primary called ${primaryName}`);
  },
  "redis-quorum": async ({ urls }) => {
    await Promise.all(urls.map(pong));
  },
};

/** Rejects with the reason when it does not serve. */
export async function probe(address: EngineAddress): Promise<void> {
  await probes[address.name]!(address);
}

async function pong(url: string): Promise<void> {
  if ((await redisCommand(url, "PING")) !== "PONG") throw new Error("it does not answer PING");
}
