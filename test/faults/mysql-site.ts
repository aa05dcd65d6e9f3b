import { createConnection } from "mysql2/promise";
import { mysqlEngine } from "tenon/mysql";
import { startMariadb } from "../mariadb-server.ts";
import { dropTables, dropUser, endSessions, makeUser } from "../mysql-host.ts";
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

/** A server of the run's own, which is killed and stopped as a process. */
export function ownMysqlSite(): RunSite {
  const prefix = testPrefix();
  return {
    startServer: startMariadb,
    open(port, settings) {
      const connect = () => createConnection(`mysql://tenon:tenon@127.0.0.1:${port}/tenon`);
      return mysqlEngine({ ...settings, connect, prefix, tables: "make", connectionsMax: 4 });
    },
  };
}

async function startServer(url: string, prefix: string): Promise<StormServer> {
  await makeUser(url, prefix);
  return openSharedServer({
    port: Number(new URL(url).port || 3306),
    endSessions: () => endSessions(url, prefix),
    async clear() {
      await dropTables(url, prefix);
      await dropUser(url, prefix);
    },
  });
}
