import type { SqlEngine, SqlRow, SqlValue } from "../../contracts/sql.ts";
import type { Address, World } from "../../world/world.ts";
import type { Main } from "../system.ts";
import { SqlClient } from "./sql-client.ts";
import type { SqlMoment } from "./sql-moment.ts";
import { SqlSessions } from "./sql-sessions.ts";
import { SqlStorage } from "./sql-storage.ts";

const SQL_PORT = 5432;
const LOCK_TIMEOUT_MS = 5_000;
const IDLE_MAX = 4;
/** Where the test itself writes, no clock is asked. */
const momentOfTests: SqlMoment = { epochMs: 1_767_225_600_000, seed: 1 };

export interface SimulatedDatabaseOptions {
  /** 5432 when left out. */
  readonly port?: number | undefined;
  /** Statements that make the tables; run once, at the beginning. */
  readonly schema?: string | undefined;
  /** How long a transaction stands in line until it fails with `timeout`; 5,000 when left out. */
  readonly lockTimeoutMs?: number | undefined;
}

/** A database that outlives the process that serves it. */
export interface SimulatedDatabase {
  /** What its process does: `system.process("database", database.main)`. */
  readonly main: Main;
  /** What is committed now, whatever transactions are open; for tests. It cannot change anything. */
  query(sql: string, parameters?: readonly SqlValue[]): readonly SqlRow[];
  /** Changes what is committed, at once, and answers how many rows; for tests. Throws while a transaction is open. */
  execute(sql: string, parameters?: readonly SqlValue[]): number;
}

/**
 * An SQL database in simulation: SQLite in memory, behind the simulated network. One transaction at a time owns it, in the order in which they were asked for. It is as robust as
 * databases are: what is committed survives every crash of its process and machine, what is not is rolled back; so it is when a client's connection breaks. SQLite's time
 * and chance are those of its process.
 */
export function simulatedDatabase(options: SimulatedDatabaseOptions = {}): SimulatedDatabase {
  const { port = SQL_PORT, schema, lockTimeoutMs = LOCK_TIMEOUT_MS } = options;
  const storage = new SqlStorage(schema, momentOfTests);
  return {
    main: async ({ world, signal }) => {
      // Left by the incarnation before.
      storage.rollBack();
      const sessions = new SqlSessions(world, storage, lockTimeoutMs);
      const listener = await world.network.listen({ host: "0.0.0.0", port }, (connection) => {
        void sessions.serve(connection);
      });
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      await listener.close();
      sessions.end();
    },
    query: (sql, parameters = []) => storage.look({ sql, parameters }),
    execute: (sql, parameters = []) => {
      if (storage.inTransaction) throw new Error("a transaction is open in the simulated database; wait for its end");
      storage.begin();
      try {
        const count = storage.run({ sql, parameters }, momentOfTests, (statements, statement) =>
          statements.change(statement),
        );
        storage.commit();
        return count;
      } finally {
        storage.rollBack();
      }
    },
  };
}

export interface SqlOverOptions {
  /** How many connections are kept that no transaction uses; 4 when left out. */
  readonly idleMax?: number | undefined;
}

/** The simulated database at an address (`database` or `database:5432`), as the process of this World sees it. Errors of statements are SQLite's own. */
export function sqlOver(
  world: World,
  address: string | Address,
  options: SqlOverOptions = {},
): SqlEngine & AsyncDisposable {
  return new SqlClient(world, typeof address === "string" ? addressOf(address) : address, options.idleMax ?? IDLE_MAX);
}

function addressOf(text: string): Address {
  const [host = "", port] = text.split(":");
  return { host, port: port === undefined ? SQL_PORT : Number(port) };
}
