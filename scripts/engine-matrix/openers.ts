/** Every engine of the package, opened with the settings that tests give their servers, to be asked what it carries. */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { Client } from "pg";
import type { KeyValueEngine, LeaseEngine, MessageEngine, RateEngine } from "../../src/contracts/index.ts";
import { memory } from "../../src/engines/embedded/index.ts";
import { postgresEngine } from "../../src/engines/postgres/index.ts";
import { foundRedisQuorum, redis, redisQuorum } from "../../src/engines/redis/index.ts";
import { type EngineAddress, type EngineName, engineAddress } from "../engines/addresses.ts";

/** What may be there of an engine. */
export interface Carried {
  readonly messages?: Pick<MessageEngine, "capabilities">;
  readonly keyValue?: Pick<KeyValueEngine, "capabilities">;
  readonly leases?: Pick<LeaseEngine, "capabilities">;
  readonly rates?: Pick<RateEngine, "capabilities">;
}

export interface Opener {
  /** Heads the engine's column. */
  readonly title: string;
  /** What has to run for it; nothing for what runs in the process. */
  readonly server?: EngineName;
  /** Asks the engine; nothing of it stays on the server. */
  open<Result>(ask: (engine: Carried) => Result): Promise<Result>;
}

export const openers: readonly Opener[] = [
  { title: "embedded", open: async (ask) => asked(await memory(), ask) },
  onServer("Redis", "redis", async ({ url }, prefix) => redis({ connect: redisClient(url), prefix })),
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
  {
    title: "PostgreSQL",
    server: "postgres",
    async open(ask) {
      const client = new Client({ connectionString: engineAddress("postgres").url });
      const schema = newPrefix();
      await client.connect();
      try {
        await client.query(`CREATE SCHEMA ${schema}`);
        const options = `-c search_path=${schema}`;
        const connect = () => new Client({ connectionString: engineAddress("postgres").url, options });
        return await asked(await postgresEngine({ connect, prefix: schema, tables: "make" }), ask);
      } finally {
        await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
        await client.end();
      }
    },
  },
];

type OpenEngine = Carried & { close(): Promise<void> };

function onServer(
  title: string,
  server: EngineName,
  open: (address: EngineAddress, prefix: string) => Promise<OpenEngine>,
): Opener {
  return { title, server, open: async (ask) => asked(await open(engineAddress(server), newPrefix()), ask) };
}

async function asked<Result>(engine: OpenEngine, ask: (engine: Carried) => Result): Promise<Result> {
  try {
    return ask(engine);
  } finally {
    await engine.close();
  }
}

async function removeKeys(client: Redis, prefix: string): Promise<void> {
  const keys = await client.keys(`${prefix}*`);
  if (keys.length > 0) await client.unlink(keys);
  client.disconnect();
}

function newPrefix(): string {
  return `tenon_matrix_${randomUUID().slice(0, 8)}`;
}

function redisClient(url: string): () => Redis {
  return () => new Redis(url, { autoResendUnfulfilledCommands: false });
}
