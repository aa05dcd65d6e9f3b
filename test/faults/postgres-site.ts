/** The shared PostgreSQL server as a run sees it: it cannot be ended, so its backends are, and nobody gets in for a while. */
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "pg";
import { postgresEngine } from "tenon/postgres";
import { dropTables } from "../postgres-host.ts";
import { testPrefix } from "../test-prefix.ts";
import type { RunSite } from "./run.ts";
import type { StormServer } from "./storm.ts";
import { startTcpProxy } from "./tcp-proxy.ts";

/** For one run: its tables go with its server. */
export function postgresSite(url: string): RunSite {
  const prefix = testPrefix();
  return {
    startServer: () => startServer(url, prefix),
    open(port, settings) {
      const through = new URL(url);
      through.hostname = "127.0.0.1";
      through.port = String(port);
      const connect = () => new Client({ connectionString: through.href, application_name: prefix });
      return postgresEngine({ ...settings, connect, prefix, tables: "make", connectionsMax: 4 });
    },
  };
}

async function startServer(url: string, prefix: string): Promise<StormServer> {
  const door = await startTcpProxy({ serverPort: Number(new URL(url).port || 5432) });
  const endBackends = async () => {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      await client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", [
        prefix,
      ]);
    } finally {
      await client.end();
    }
  };
  const stalled = new Set<"request" | "reply">(["request", "reply"]);
  const each = (act: "stall" | "resume") => {
    for (const connection of door.connections) for (const direction of stalled) connection[act](direction);
  };
  return {
    port: door.port,
    async stop() {
      await door.refuse();
      await endBackends();
      door.cutAll();
    },
    start: () => door.accept(),
    pause: () => each("stall"),
    resume: () => each("resume"),
    async dispose() {
      await door[Symbol.asyncDispose]();
      // What was cut off in the midst of something is over before its tables go.
      await endBackends();
      await sleep(100);
      await dropTables(url, prefix);
    },
  };
}
