import { TenonError } from "../contracts/errors.ts";
import type { SqlEngine, SqlTransaction } from "../contracts/sql.ts";
import { checkToken, stale } from "./fenced.ts";

type Dialect = SqlEngine["dialect"];

export interface SqlFenceOptions {
  /** `tenon_fence` when left out. */
  readonly table?: string | undefined;
}

/** Keeps, in the caller's own database, the greatest fencing token that was seen for each resource. */
export interface SqlFence {
  /** Makes the table when it is not there. */
  migrate(): Promise<void>;
  /**
   * Call it first in a transaction that writes to the resource: `lost` when a greater token has been seen, and then let the error pass, so that the
   * transaction rolls back. Else it records the token, and holds back other transactions on the resource until this one has ended. `invalid` for a
   * resource that is not 1 to 255 characters.
   */
  guard(transaction: SqlTransaction, resource: string, token: bigint): Promise<void>;
}

export function sqlFence(sql: SqlEngine, options: SqlFenceOptions = {}): SqlFence {
  const table = checkTable(options.table);
  const { dialect } = sql;
  const create = fenceTable(dialect, table);
  const recordToken = recorders[dialect](table);
  return {
    migrate: () =>
      sql.transaction(async (transaction) => {
        await transaction.execute(create);
      }),
    guard: async (transaction, resource, token) => {
      checkResource(resource);
      checkToken(resource, token);
      if (!(await recordToken(transaction, resource, token))) throw stale(resource, token);
    },
  };
}

/** The statement that makes the table, for those who keep their own migrations. */
export function fenceTable(dialect: Dialect, table?: string): string {
  const columns = columnsOf[dialect];
  if (columns === undefined) {
    throw new TenonError("unsupported", "sqlFence() speaks sqlite, postgres and mysql. Use one of these dialects.");
  }
  return `CREATE TABLE IF NOT EXISTS ${checkTable(table)} (${columns})`;
}

/** MySQL pads texts with spaces when it compares them; bytes it does not. */
const columnsOf: Readonly<Record<Dialect, string>> = {
  sqlite: "resource TEXT NOT NULL PRIMARY KEY, token INTEGER NOT NULL",
  postgres: "resource TEXT NOT NULL PRIMARY KEY, token BIGINT NOT NULL",
  mysql: "resource VARBINARY(1020) NOT NULL PRIMARY KEY, token BIGINT NOT NULL",
};

/** Answers whether the token is the greatest that was seen. */
type Recorder = (transaction: SqlTransaction, resource: string, token: bigint) => Promise<boolean>;

const recorders: Readonly<Record<Dialect, (table: string) => Recorder>> = {
  sqlite: conditionalUpsert,
  postgres: conditionalUpsert,
  mysql: upsertAndLook,
};

/** Locks the row, also when it refuses; changes no row then. */
function conditionalUpsert(table: string): Recorder {
  const upsert = `INSERT INTO ${table} (resource, token) VALUES (?, ?)
    ON CONFLICT (resource) DO UPDATE SET token = excluded.token WHERE ${table}.token <= excluded.token`;
  return async (transaction, resource, token) => (await transaction.execute(upsert, [resource, token])) > 0;
}

/** MySQL has no conditional upsert. The first statement locks the row; the second must not read from the transaction's older snapshot. */
function upsertAndLook(table: string): Recorder {
  const upsert = `INSERT INTO ${table} (resource, token) VALUES (?, ?)
    ON DUPLICATE KEY UPDATE token = GREATEST(token, ?)`;
  const look = `SELECT 1 AS stale FROM ${table} WHERE resource = ? AND token > ? FOR UPDATE`;
  return async (transaction, resource, token) => {
    await transaction.execute(upsert, [resource, token, token]);
    return (await transaction.query(look, [resource, token])).length === 0;
  };
}

function checkTable(table = "tenon_fence"): string {
  if (/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(table)) return table;
  throw new TenonError(
    "invalid",
    `The table of sqlFence() is named "${table}". Use letters, digits and underscores, no digit first, at most 63.`,
    { fields: { table } },
  );
}

function checkResource(resource: string): void {
  if (
    typeof resource === "string" &&
    resource.length >= 1 &&
    resource.length <= 255 &&
    resource.isWellFormed() &&
    !resource.includes("\0")
  ) {
    return;
  }
  throw new TenonError(
    "invalid",
    "A resource for guard() is not text of 1 to 255 characters without NUL. Name what the lock protects.",
  );
}
