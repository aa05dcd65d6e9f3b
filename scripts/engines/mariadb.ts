import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { urlsAt, wellKnown } from "./addresses.ts";
import type { Engine } from "./engine.ts";
import type { Site } from "./site.ts";

const user = "mysql";

/** Run at every start, so it changes nothing that is there. */
const accounts = `CREATE DATABASE IF NOT EXISTS tenon;
CREATE USER IF NOT EXISTS 'tenon'@'%' IDENTIFIED BY 'tenon';
GRANT ALL PRIVILEGES ON *.* TO 'tenon'@'%' WITH GRANT OPTION;
ALTER USER 'root'@'localhost' IDENTIFIED BY 'tenon';
`;

export const mariadb: Engine = {
  name: "mariadb",
  version: "10.11",
  packages: [{ package: "mariadb-server", program: "mariadbd" }],
  ports: { mariadb: wellKnown.mariadb.ports[0]! },
  published: ["mariadb"],
  user,
  async start(site) {
    if (!existsSync(site.path("data"))) await initialise(site);
    writeFileSync(site.path("accounts.sql"), accounts);
    site.start("mariadb", {
      command: "mariadbd",
      parameters: [
        "--no-defaults",
        `--datadir=${site.path("data")}`,
        `--port=${site.port("mariadb")}`,
        "--bind-address=127.0.0.1",
        // Below the data folder: the length of a socket's path is limited.
        "--socket=mariadb.sock",
        "--pid-file=mariadb.pid",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=1",
        "--character-set-server=utf8mb4",
        `--init-file=${site.path("accounts.sql")}`,
      ],
      user,
    });
    await site.untilReady("mariadb", () => query(site, "SELECT 1"), 60_000);
  },
};

/** Into a folder that gets its name when it is complete. */
async function initialise(site: Site): Promise<void> {
  const unfinished = site.path("data-unfinished");
  rmSync(unfinished, { recursive: true, force: true });
  await site.run({
    command: "mariadb-install-db",
    parameters: [
      "--no-defaults",
      `--datadir=${unfinished}`,
      "--auth-root-authentication-method=normal",
      "--skip-test-db",
    ],
    user,
  });
  renameSync(unfinished, site.path("data"));
}

async function query(site: Site, sql: string): Promise<string> {
  const url = new URL(urlsAt("mariadb", [site.port("mariadb")])[0]!);
  const where = [
    `--host=${url.hostname}`,
    `--port=${url.port}`,
    `--user=${url.username}`,
    `--database=${url.pathname.slice(1)}`,
  ];
  return site.run({
    command: "mariadb",
    parameters: ["--no-defaults", "--protocol=tcp", ...where, `--execute=${sql}`],
    environment: { MYSQL_PWD: url.password },
    user,
  });
}
