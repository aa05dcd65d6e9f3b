import type { LeaseCommands } from "../../relational/leases/commands.ts";
import { stampBytes } from "../../relational/leases/lease-row.ts";
import { type Command, command } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { clock } from "../tables.ts";

export function leaseStatements({ prefix, leases, tokens }: Tables): LeaseCommands {
  const statement = (name: string, text: string) => command(`${prefix}_lease_${name}`, text);
  const draw = statement("draw", `SELECT ${clock} AS now, nextval('${tokens}') AS token FROM generate_series(1, $1)`);
  const now = statement("now", `SELECT ${clock} AS now`);
  const expected = `(substr(state, 1, ${stampBytes}) = $2 OR substr(state, ${stampBytes + 1}) = $3) AND ${clock} >= $4 AND ${clock} < $5`;
  /** A notice wakes every session that listens, whatever to; so nothing is told when there is nothing to tell. */
  const telling = (name: string, text: string, count: number): Command => {
    const quiet = statement(name, text);
    const notices = `unnest($${count + 1}::text[], $${count + 2}::text[]) AS n (channel, payload)`;
    const telling = statement(
      `${name}_telling`,
      `${text}, (SELECT count(pg_notify(channel, payload)) FROM ${notices})`,
    );
    return (sql, values) => {
      const isQuiet = (values[count] as readonly string[]).length === 0;
      return isQuiet ? quiet(sql, values.slice(0, count)) : telling(sql, values);
    };
  };
  return {
    /** Makes rows where there are none, so that there is something to lock; one after the other in the order of the names. */
    lock: statement(
      "lock",
      `INSERT INTO ${leases} AS l (name, state, ends_at) SELECT n, ''::bytea, 0 FROM unnest($1::bytea[]) n ORDER BY n
       ON CONFLICT (name) DO UPDATE SET ends_at = l.ends_at RETURNING name, state`,
    ),
    /** Under the locks, so that tokens of a name grow. */
    draw: (sql, values) => (values[0] === 0 ? now(sql, []) : draw(sql, values)),
    write: statement(
      "write",
      `WITH kept AS (
         UPDATE ${leases} l SET state = u.state, ends_at = u.ends_at
         FROM unnest($1::bytea[], $2::bytea[], $3::float8[]) AS u (name, state, ends_at) WHERE l.name = u.name
       ), unused AS (DELETE FROM ${leases} WHERE name = ANY($4::bytea[]))
       SELECT pg_notify(channel, payload) FROM unnest($5::text[], $6::text[]) AS n (channel, payload)`,
    ),
    stamped: {
      make: statement("make", `INSERT INTO ${leases} (name, state, ends_at) VALUES ($1, '', 0) ON CONFLICT DO NOTHING`),
      /**
       * A number that is drawn here is drawn after the row was locked, or the row has not changed between: where it has, PostgreSQL computes the new row again. It does not do so with what
       * it takes from a sub-query or another table.
       */
      replace: telling(
        "replace",
        `UPDATE ${leases} SET state = '\\x10'::bytea || float8send(${clock}) || int8send(nextval('${tokens}')) || $6, ends_at = ${clock} + $7::float8
         WHERE name = $1 AND ${expected} RETURNING substr(state, 1, ${stampBytes}) AS stamp`,
        7,
      ),
      remove: telling("remove", `DELETE FROM ${leases} WHERE name = $1 AND ${expected} RETURNING 1 AS removed`, 5),
    },
    describe: statement(
      "describe",
      `SELECT c.now, l.state FROM (SELECT ${clock} AS now) c LEFT JOIN ${leases} l ON l.name = $1`,
    ),
    sweep: statement(
      "sweep",
      `DELETE FROM ${leases} WHERE name IN (SELECT name FROM ${leases} WHERE ends_at <= ${clock} LIMIT 1000 FOR UPDATE SKIP LOCKED)`,
    ),
  };
}
