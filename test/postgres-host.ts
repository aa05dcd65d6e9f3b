/** The PostgreSQL engine for conformance cases: each subject under a prefix of its own, whose tables it drops at its end. */
import { randomUUID } from "node:crypto";
import { Client } from "pg";
import type { ConformanceHost } from "tenon/conformance";
import { type PostgresClient, type PostgresEngine, postgresEngine } from "tenon/postgres";
import { systemWorld } from "tenon/world";
import { mortalWorld } from "./mortal-world.ts";

export interface PostgresProcess {
  readonly engine: PostgresEngine;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

export interface ProcessOptions {
  readonly commandTimeoutMs?: number | undefined;
}

export function testPrefix(): string {
  return `tenon_test_${randomUUID().replaceAll("-", "").slice(0, 16)}`;
}

export async function startPostgres(
  url: string,
  prefix: string,
  options: ProcessOptions = {},
): Promise<PostgresProcess> {
  const world = mortalWorld(systemWorld());
  const clients: Client[] = [];
  const connect = (): PostgresClient => {
    const client = new Client({ connectionString: url });
    clients.push(client);
    return client;
  };
  const engine = await postgresEngine({ connect, prefix, world, tables: "make", connectionsMax: 4, ...options });
  return {
    engine,
    async die() {
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

export function postgresHost(url: string): ConformanceHost<PostgresEngine> {
  return {
    async start() {
      const prefix = testPrefix();
      let process = await startPostgres(url, prefix);
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          await endSessionsSoon(url, prefix, sessionLeftMs);
          process = await startPostgres(url, prefix);
        },
        async stop() {
          await process.engine.close();
          await dropTables(url, prefix);
        },
      };
    },
  };
}

async function endSessionsSoon(_url: string, _prefix: string, _leftMs: number): Promise<void> {}

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
