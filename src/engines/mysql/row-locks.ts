import type { Command, Parameter, Sql } from "../relational/sql.ts";
import { ask, insertion, zip } from "./commands.ts";
import { clock } from "./tables.ts";

/**
 * Locks rows of a table with key, state and ends_at, in the order of the keys. Where there are none they are made, so that there is something to lock. Rows that are there are not made, as that would cost their
 * lock twice.
 */
export function lockingRows(table: string, key: string): Command {
  const lock = ask(`SELECT "${key}", state, ends_at FROM ${table} WHERE "${key}" IN ($1) ORDER BY "${key}" FOR UPDATE`);
  const make = ask(
    `INSERT INTO ${table} ("${key}", state, ends_at) VALUES $1 ON DUPLICATE KEY UPDATE ends_at = ends_at`,
  );
  return async (sql, [given]) => {
    const keys = [...(given as readonly Buffer[])].sort(Buffer.compare);
    const rows = await lock(sql, keys);
    if (rows.length === keys.length) return rows;
    await make(
      sql,
      keys.map((each) => [each, Buffer.alloc(0), 0]),
    );
    return lock(sql, keys);
  };
}

/** A row that nobody needs goes some time later: deleting and making the same one all the time lets transactions collide. */
const emptyMs = 10_000;

/** Writes rows that are locked: keys, states, ends; and keys that nobody needs. */
export function writingRows(
  table: string,
  key: string,
): (
  sql: Sql,
  ...values: readonly [keys: Parameter, states: Parameter, ends: Parameter, unused: Parameter]
) => Promise<void> {
  const keep = insertion(
    `INSERT INTO ${table} ("${key}", state, ends_at) VALUES $1 ON DUPLICATE KEY UPDATE state = VALUES(state), ends_at = VALUES(ends_at)`,
  );
  const empty = ask(`UPDATE ${table} SET state = X'', ends_at = ${clock} + ${emptyMs} WHERE "${key}" IN ($1)`);
  return async (sql, keys, states, ends, unused) => {
    await keep(sql, zip(keys, states, ends));
    if ((unused as readonly Parameter[]).length > 0) await empty(sql, unused);
  };
}
