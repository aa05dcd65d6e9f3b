import type { LeaseCommands } from "../../relational/leases/commands.ts";
import { command } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { clock } from "../tables.ts";

export function leaseStatements({ prefix, leases, tokens }: Tables): LeaseCommands {
  const statement = (name: string, text: string) => command(`${prefix}_lease_${name}`, text);
  const draw = statement("draw", `SELECT ${clock} AS now, nextval('${tokens}') AS token FROM generate_series(1, $1)`);
  const now = statement("now", `SELECT ${clock} AS now`);
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
