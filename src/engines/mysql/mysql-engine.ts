import { TenonError } from "../../contracts/errors.ts";
import type { DatabaseConnection } from "../relational/connection.ts";
import { type RelationalOptions, settingsOf } from "../relational/options.ts";
import { openEngine, type RelationalEngine } from "../relational/relational-engine.ts";
import type { Tables } from "../relational/tables.ts";
import { checkMs } from "../shared/options.ts";
import type { MysqlClient } from "./clients.ts";
import { rowsOf } from "./commands.ts";
import { carriesBlocks } from "./compounds.ts";
import { MysqlDialect } from "./mysql-dialect.ts";
import { readRequirements } from "./requirements.ts";
import { isColumnThere } from "./server-failures.ts";
import { tableStatements, tablesVersion, upgradeStatements } from "./tables.ts";

export interface MysqlEngineOptions extends RelationalOptions {
  /**
   * Answers a new connection whenever it is called: `() => createConnection(url)` of the package mysql2/promise, or `() => pool.getConnection()`. The engine calls it for its
   * connections, and again after one was lost; it closes what it was given.
   */
  readonly connect: () => Promise<MysqlClient>;
  /** How long the pauses between two looks for what other processes told grow at most while there is nothing; 50 ms if left out. */
  readonly noticeMs?: number | undefined;
}

/** MySQL or MariaDB as an engine; see docs/mysql.md. */
export interface MysqlEngine extends RelationalEngine {
  readonly name: "mysql";
}

/**
 * Connects to MySQL 8.0 or MariaDB 10.6, or later, and looks at its settings and its tables.
 *
 * `unavailable` when it cannot be reached or is read-only, `denied` when it refuses the credentials, `not-found` when the tables are not there and may not be made, `conflict` when they are another
 * version's, `unsupported` when it is too old, or its settings cannot carry the engine.
 */
export async function mysqlEngine(options: MysqlEngineOptions): Promise<MysqlEngine> {
  if (typeof options?.connect !== "function") {
    throw new TenonError("invalid", "mysqlEngine() needs options with connect, a function that answers a connection");
  }
  const settings = settingsOf(options);
  const { noticeMs = 50 } = options;
  checkMs({ noticeMs });
  const { connectionsMax, survives, tables, commandTimeoutMs, world } = settings;
  const monotonic = () => world.clock.monotonic();
  const { connect } = options;
  const dialect = new MysqlDialect({ connect, tables, commandTimeoutMs, noticeMs, monotonic });
  const parts = {
    name: "mysql" as const,
    dialect,
    tablesVersion,
    tablesFunction: "mysqlTables",
    async requirements(connection: DatabaseConnection) {
      const state = await readRequirements(connection, connectionsMax, survives);
      dialect.carriesBlocks = await carriesBlocks(connection);
      return state;
    },
    makeTables: (connection: DatabaseConnection) => makeTables(connection, tables),
  };
  return openEngine(parts, settings);
}

/** Each statement ends its own transaction, and none changes what is there or has been added already: engines may start together. The version comes last, so where it is, all is. */
async function makeTables(connection: DatabaseConnection, { prefix, meta }: Tables): Promise<void> {
  const find = rowsOf(
    "SELECT 1 AS there FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = $1",
  );
  const version = rowsOf(`SELECT value FROM ${meta} WHERE name = 'tables'`);
  const there = await connection.read("looking for tables", find, [meta]);
  const [made] = there.length > 0 ? await connection.read("looking for tables", version) : [];
  const from = made?.value as number | undefined;
  if (from === undefined) await carryOut(connection, tableStatements(prefix));
  else if (from < tablesVersion) await carryOut(connection, upgradeStatements(prefix, from));
}

async function carryOut(connection: DatabaseConnection, statements: readonly string[]): Promise<void> {
  for (const statement of statements) {
    await connection.transaction("making tables", async (transaction) => {
      try {
        await transaction.simple(statement);
      } catch (error) {
        if (!isColumnThere(error)) throw error;
      }
    });
  }
}
