/** Every engine of the package, opened on servers with the settings that tests give them, to be asked what it carries. */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { type ServerType, saleServers } from "../../examples/flash-sale/sale-servers.ts";
import type { KeyValueEngine, LeaseEngine, LogEngine, MessageEngine, RateEngine } from "../../src/contracts/index.ts";
import { memory } from "../../src/engines/embedded/index.ts";
import { etcd } from "../../src/engines/etcd/index.ts";
import { foundRedisQuorum, redisQuorum } from "../../src/engines/redis/index.ts";
import { zookeeper } from "../../src/engines/zookeeper/index.ts";
import { type EngineName, engineAddress } from "../engines/addresses.ts";

/** What may be there of an engine. */
export interface Carried {
  readonly messages?: Pick<MessageEngine, "capabilities">;
  readonly log?: Pick<LogEngine, "capabilities">;
  readonly keyValue?: Pick<KeyValueEngine, "capabilities">;
  readonly leases?: Pick<LeaseEngine, "capabilities">;
  readonly rates?: Pick<RateEngine, "capabilities">;
}

export interface Opener {
  /** Heads the engine's column. */
  readonly title: string;
  /** What has to run for it; nothing for what runs in the process. */
  readonly server?: EngineName;
  /** Asks the engine; what it made on the server is removed. */
  open<Result>(ask: (engine: Carried) => Result): Promise<Result>;
}

export const openers: readonly Opener[] = [
  { title: "embedded", open: async (ask) => asked(await memory(), ask) },
  onServerOfSale("redis"),
  {
    title: "Redis quorum",
    server: "redis-quorum",
    async open(ask) {
      const prefix = newPrefix();
      const connect = engineAddress("redis-quorum").urls.map((url) => redisClient(url));
      try {
        await foundRedisQuorum({ connect, prefix });
        return await asked(await redisQuorum({ connect, prefix }), ask);
      } finally {
        await Promise.all(connect.map((client) => removeKeys(client(), prefix)));
      }
    },
  },
  onServerOfSale("postgres"),
  onServerOfSale("mysql"),
  onServerOfSale("rabbitmq"),
  onServerOfSale("nats"),
  onServerOfSale("kafka"),
  {
    title: "etcd",
    server: "etcd",
    open: async (ask) => asked(await etcd({ endpoints: engineAddress("etcd").urls, fetch, prefix: newPrefix() }), ask),
  },
  {
    title: "ZooKeeper",
    server: "zookeeper",
    async open(ask) {
      const servers = engineAddress("zookeeper").urls.map((url) => new URL(url).host);
      return asked(await zookeeper({ servers, root: "/tenon_matrix", nodes: "make" }), ask);
    },
  },
];

type OpenEngine = Carried & { close(): Promise<void> };

/** As the flash sale opens it. */
function onServerOfSale(type: ServerType): Opener {
  const { title, engine: server, load } = saleServers[type];
  return {
    title,
    server,
    async open(ask) {
      const store = { type, url: engineAddress(server).url, prefix: newPrefix() };
      const driver = await load();
      await driver.prepare(store, 10_000);
      try {
        return await asked((await driver.open(store)) as OpenEngine, ask);
      } finally {
        await driver.remove(store);
      }
    },
  };
}

async function asked<Result>(engine: OpenEngine, ask: (engine: Carried) => Result): Promise<Result> {
  try {
    return ask(engine);
  } finally {
    await engine.close();
  }
}

function newPrefix(): string {
  return `matrix${randomUUID().slice(0, 8)}`;
}

function redisClient(url: string): () => Redis {
  return () => new Redis(url, { autoResendUnfulfilledCommands: false });
}

async function removeKeys(client: Redis, prefix: string): Promise<void> {
  const keys = await client.keys(`${prefix}*`);
  if (keys.length > 0) await client.unlink(keys);
  client.disconnect();
}
