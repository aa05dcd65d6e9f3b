import { createConnection, type RowDataPacket } from "mysql2/promise";
import { mysqlEngine } from "tenon/mysql";
import { direct, dropTables } from "../mysql-host.ts";
import { testPrefix } from "../test-prefix.ts";
import type { RunSite } from "./run.ts";
import { openSharedServer, throughPort } from "./shared-server.ts";
import type { StormServer } from "./storm.ts";

/** For one run: its tables go with its server. Its sessions are known by their user. */
export function mysqlSite(url: string): RunSite {
  const prefix = testPrefix();
  return {
    startServer: () => startServer(url, prefix),
    open(port, settings) {
      const through = throughPort(url, port);
      through.username = prefix;
      const connect = () => createConnection(through.href);
      return mysqlEngine({ ...settings, connect, prefix, tables: "make", connectionsMax: 4 });
    },
  };
}

async function startServer(url: string, prefix: string): Promise<StormServer> {
  const { port, password, pathname } = new URL(url);
  await direct(url, async (client) => {
    await client.query("CREATE USER ?@'%' IDENTIFIED BY ?", [prefix, decodeURIComponent(password)]);
    await client.query(`GRANT ALL PRIVILEGES ON ${pathname.slice(1)}.* TO ?@'%'`, [prefix]);
  });
  return openSharedServer({
    port: Number(port || 3306),
    endSessions: () => endSessions(url, prefix),
    async clear() {
      await dropTables(url, prefix);
      await direct(url, (client) => client.query("DROP USER ?@'%'", [prefix]));
    },
  });
}

async function endSessions(url: string, user: string): Promise<void> {
  await direct(url, async (client) => {
    const text = "SELECT id FROM information_schema.processlist WHERE user = ?";
    const [sessions] = await client.query<RowDataPacket[]>(text, [user]);
    for (const { id } of sessions) {
      // It may have ended by itself meanwhile.
      await client.query(`KILL CONNECTION ${id}`).catch(() => undefined);
    }
  });
}
