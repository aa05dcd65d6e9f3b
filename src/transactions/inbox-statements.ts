import { TenonError } from "../contracts/errors.ts";
import type { SqlEngine } from "../contracts/sql.ts";

export interface InboxStatements {
  readonly create: readonly string[];
  /** Parameters: consumer, message, now. Changes no row when the record is there. */
  readonly record: string;
  /** Parameters: consumer, instant, limit. */
  readonly clean: string;
}

export function inboxStatements(dialect: SqlEngine["dialect"], table: string): InboxStatements {
  if (dialect === "mysql") {
    throw new TenonError(
      "unsupported",
      `The inbox does not speak ${dialect} yet. Use SQLite or PostgreSQL, or record message ids under a unique key of your own.`,
      {
        fields: { dialect },
      },
    );
  }
  return {
    create: [
      ...creationOrder[dialect],
      `CREATE TABLE IF NOT EXISTS ${table} (
        consumer TEXT NOT NULL,
        message TEXT NOT NULL,
        recorded_at BIGINT NOT NULL,
        PRIMARY KEY (consumer, message)
      )${dialect === "sqlite" ? " WITHOUT ROWID" : ""}`,
      `CREATE INDEX IF NOT EXISTS ${table}_by_age ON ${table} (consumer, recorded_at)`,
    ],
    record: `INSERT INTO ${table} (consumer, message, recorded_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
    clean: `DELETE FROM ${table} WHERE (consumer, message) IN (
        SELECT consumer, message FROM ${table} WHERE consumer = ? AND recorded_at < ? ORDER BY recorded_at LIMIT ?
      )`,
  };
}

/** In PostgreSQL two `CREATE … IF NOT EXISTS` at the same time can collide; a lock until the commit lets one wait. The number is any. */
const creationOrder = { sqlite: [], postgres: ["SELECT pg_advisory_xact_lock(8351420711)"] } as const;
