/** The PostgreSQL engine for conformance cases: each subject under a prefix of its own, whose tables it drops at its end. */
import { Client } from "pg";
import type { ConformanceHost } from "tenon/conformance";
import { type PostgresClient, type PostgresEngine, postgresEngine } from "tenon/postgres";
import { systemWorld } from "tenon/world";
import { GroupState } from "../src/engines/lanes/index.ts";
import { mortalWorld } from "./mortal-world.ts";
import { testPrefix } from "./test-prefix.ts";

export interface PostgresProcess {
  readonly engine: PostgresEngine;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

export interface ProcessOptions {
  readonly commandTimeoutMs?: number | undefined;
}

export interface ClientOptions {
  /** As the client's own option: it sends what is asked while answers are missing. */
  readonly pipeline?: boolean | undefined;
}

export async function startPostgres(
  url: string,
  prefix: string,
  { pipeline = false, ...options }: ProcessOptions & ClientOptions = {},
): Promise<PostgresProcess> {
  const world = mortalWorld(systemWorld());
  const clients: Client[] = [];
  let isDead = false;
  const connect = (): PostgresClient => {
    if (isDead) throw new Error("a process that has died connects no more");
    const client = new Client({ connectionString: url, pipeline });
    clients.push(client);
    return client;
  };
  const engine = await postgresEngine({ connect, prefix, world, tables: "make", connectionsMax: 4, ...options });
  return {
    engine,
    async die() {
      isDead = true;
      await world.die();
      for (const client of clients) {
        // As a process that is killed: nobody takes leave.
        (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
      }
    },
  };
}

/** How soon the session of a process that died ends. */
const sessionLeftMs = 100;

export function postgresHost(url: string, options: ClientOptions = {}): ConformanceHost<PostgresEngine> {
  return {
    async start() {
      const prefix = testPrefix();
      let process = await startPostgres(url, prefix, options);
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          await endSessionsSoon(url, prefix);
          process = await startPostgres(url, prefix, options);
        },
        async stop() {
          await process.engine.close();
          await dropTables(url, prefix);
        },
      };
    },
  };
}

/** As if the members had joined with short sessions, which a busy machine could end while they live. */
async function endSessionsSoon(url: string, prefix: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("BEGIN");
    const { rows } = await client.query(`SELECT id, state FROM ${prefix}_groups FOR UPDATE`);
    const clock = await client.query("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now");
    const { now } = clock.rows[0] as { now: number };
    for (const { id, state: bytes } of rows as { id: string; state: Buffer }[]) {
      const state = GroupState.decode(bytes);
      for (const member of state.memberIds) state.renew(member, sessionLeftMs, now);
      const values = [id, state.encode(), state.endsAt ?? null];
      await client.query(`UPDATE ${prefix}_groups SET state = $2, ends_at = $3 WHERE id = $1`, values);
    }
    await client.query("COMMIT");
  } finally {
    await client.end();
  }
}

export async function dropTables(url: string, prefix: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query(
      "SELECT relname AS name, relkind AS kind FROM pg_class WHERE relname LIKE $1 AND relkind IN ('r', 'S') ORDER BY relkind DESC",
      [`${prefix.replaceAll("_", "\\_")}\\_%`],
    );
    for (const { name, kind } of rows as { name: string; kind: string }[]) {
      await client.query(`DROP ${kind === "r" ? "TABLE" : "SEQUENCE"} IF EXISTS ${name}`);
    }
  } finally {
    await client.end();
  }
}
