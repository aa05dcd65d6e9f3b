import { Client } from "pg";
import { postgresEngine } from "tenon/postgres";
import { dropTables } from "../postgres-host.ts";
import { testPrefix } from "../test-prefix.ts";
import type { RunSite } from "./run.ts";
import { openSharedServer, throughPort } from "./shared-server.ts";

/** For one run: its tables go with its server. */
export function postgresSite(url: string): RunSite {
  const prefix = testPrefix();
  return {
    startServer: () =>
      openSharedServer({
        port: Number(new URL(url).port || 5432),
        endSessions: () => endSessions(url, prefix),
        clear: () => dropTables(url, prefix),
      }),
    open(port, settings) {
      const { href } = throughPort(url, port);
      const connect = () => new Client({ connectionString: href, application_name: prefix, pipeline: true });
      return postgresEngine({ ...settings, connect, prefix, tables: "make", connectionsMax: 4 });
    },
  };
}

async function endSessions(url: string, prefix: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const text = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
    await client.query(text, [prefix]);
  } finally {
    await client.end();
  }
}
