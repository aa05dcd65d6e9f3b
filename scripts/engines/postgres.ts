import { existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { urlsAt, wellKnown } from "./addresses.ts";
import type { Engine } from "./engine.ts";
import type { Site } from "./site.ts";

const programs = "/usr/lib/postgresql/15/bin";
const user = "postgres";

export const postgres: Engine = {
  name: "postgres",
  version: "15",
  packages: [{ package: "postgresql-15", program: `${programs}/postgres` }],
  ports: { postgres: wellKnown.postgres.ports[0]! },
  published: ["postgres"],
  user,
  // A fast shutdown: the default one waits for clients to leave.
  stopSignal: "SIGINT",
  async start(site) {
    if (!existsSync(site.path("data"))) await initialise(site);
    const settings = [
      `port=${site.port("postgres")}`,
      "listen_addresses=127.0.0.1",
      "unix_socket_directories=",
      "max_connections=200",
    ];
    site.start("postgres", {
      command: `${programs}/postgres`,
      parameters: ["-D", site.path("data"), ...settings.flatMap((setting) => ["-c", setting])],
      user,
    });
    await site.untilReady("postgres", () => query(site, "postgres", "SELECT 1"), 30_000);
    const found = await query(site, "postgres", "SELECT count(*) FROM pg_database WHERE datname = 'tenon'");
    if (found === "0") await query(site, "postgres", "CREATE DATABASE tenon");
    await query(site, "tenon", "SELECT 1");
  },
};

/** Into a folder that gets its name when it is complete. */
async function initialise(site: Site): Promise<void> {
  const unfinished = site.path("data-unfinished");
  rmSync(unfinished, { recursive: true, force: true });
  const passwordFile = site.path("password");
  writeFileSync(passwordFile, "tenon\n", { mode: 0o644 });
  const options = [
    "--username=tenon",
    `--pwfile=${passwordFile}`,
    "--auth=scram-sha-256",
    "--locale=C.UTF-8",
    "--encoding=UTF8",
  ];
  await site.run({ command: `${programs}/initdb`, parameters: ["-D", unfinished, ...options], user });
  rmSync(passwordFile);
  renameSync(unfinished, site.path("data"));
}

async function query(site: Site, database: string, sql: string): Promise<string> {
  const url = new URL(urlsAt("postgres", [site.port("postgres")])[0]!);
  const where = [`--host=${url.hostname}`, `--port=${url.port}`, `--username=${url.username}`, `--dbname=${database}`];
  const output = await site.run({
    command: `${programs}/psql`,
    parameters: ["--no-psqlrc", "--no-password", "--tuples-only", "--no-align", ...where, `--command=${sql}`],
    environment: { PGPASSWORD: url.password },
    user,
  });
  return output.trim();
}
