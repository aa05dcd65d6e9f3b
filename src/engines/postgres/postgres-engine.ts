import { TenonError } from "../../contracts/errors.ts";
import type { DatabaseConnection } from "../relational/connection.ts";
import { type RelationalOptions, settingsOf } from "../relational/options.ts";
import { openEngine, type RelationalEngine } from "../relational/relational-engine.ts";
import { command } from "../relational/sql.ts";
import type { Tables } from "../relational/tables.ts";
import type { PostgresClient } from "./clients.ts";
import { PostgresDialect } from "./postgres-dialect.ts";
import { readRequirements } from "./requirements.ts";
import { postgresTables, tablesVersion } from "./tables.ts";

export interface PostgresEngineOptions extends RelationalOptions {
  /**
   * Answers a new client whenever it is called, not yet connected: `() => new Client({ connectionString })` of the package pg. The engine calls it for its
   * connections, and again after one was lost; it closes what it was given.
   */
  readonly connect: () => PostgresClient;
}

/** PostgreSQL as an engine; see docs/postgres.md. */
export interface PostgresEngine extends RelationalEngine {
  readonly name: "postgres";
}

/**
 * Connects to PostgreSQL 13 or later and looks at its settings and its tables.
 *
 * `unavailable` when it cannot be reached or is a standby, `denied` when it refuses the credentials, `not-found` when the tables are not there and may not be made, `conflict` when they are another
 * version's, `unsupported` when it is too old.
 */
export async function postgresEngine(options: PostgresEngineOptions): Promise<PostgresEngine> {
  if (typeof options?.connect !== "function") {
    throw new TenonError(
      "invalid",
      "postgresEngine() needs options with connect, a function that answers a new Client",
    );
  }
  const settings = settingsOf(options);
  const { connectionsMax, survives, tables, commandTimeoutMs } = settings;
  const parts = {
    name: "postgres" as const,
    dialect: new PostgresDialect(options.connect, commandTimeoutMs),
    tablesVersion,
    tablesFunction: "postgresTables",
    requirements: (connection: DatabaseConnection) => readRequirements(connection, connectionsMax, survives),
    makeTables: (connection: DatabaseConnection) => makeTables(connection, tables),
  };
  return openEngine(parts, settings);
}

/** Any number that nothing else locks by. */
const makingLock = 7_316_023_341;

async function makeTables(connection: DatabaseConnection, { prefix, meta }: Tables): Promise<void> {
  const lock = command("tenon_making", "SELECT pg_advisory_xact_lock($1)");
  const find = command("tenon_find", "SELECT to_regclass($1) IS NOT NULL AS there");
  const version = command("tenon_version", `SELECT value FROM ${meta} WHERE name = 'tables'`);
  await connection.transaction("making tables", async (transaction) => {
    // Engines that start together would make the same ones.
    await transaction.run(lock, [makingLock]);
    const [row] = await transaction.run(find, [meta]);
    const [made] = row!.there === 1 ? await transaction.run(version) : [];
    const from = made?.value as number | undefined;
    if (from === undefined || from < tablesVersion) await transaction.simple(postgresTables(prefix, from));
  });
}
