import type { LeaseCommands } from "../../relational/leases/commands.ts";
import { keptMs } from "../../relational/leases/known-rows.ts";
import { idleBytes, stampBytes } from "../../relational/leases/lease-row.ts";
import { type Command, command } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { countedCommand } from "../postgres-wire.ts";
import { clock } from "../tables.ts";

/** A row that nobody needs, behind its stamp. */
const idle = `'\\x${idleBytes.toString("hex")}'::bytea`;
const stamp = `substr(state, 1, ${stampBytes}) AS stamp`;
/** How much longer than needed a row may last, and how much longer it does when that is set anew: holding a name and giving it back take turns without setting it each time. */
const spareMs = { least: 60_000, most: 600_000 };

export function leaseStatements({ prefix, leases, tokens }: Tables): LeaseCommands {
  const statement = (name: string, text: string) => command(`${prefix}_lease_${name}`, text);
  const draw = statement("draw", `SELECT ${clock} AS now, nextval('${tokens}') AS token FROM generate_series(1, $1)`);
  const now = statement("now", `SELECT ${clock} AS now`);
  /** A number that is drawn here is drawn after the row was locked, or the row has not changed between: where it has, PostgreSQL computes the new row again. It does not do so with what it takes from a sub-query or another table. */
  const stamped = (bytes: string) =>
    `state = '\\x10'::bytea || float8send(${clock}) || int8send(nextval('${tokens}')) || ${bytes}`;
  /** What is indexed stays as it is while it will do: so the new row needs no place in any index, which is half of what a write costs. */
  const lasting = (ms: string) =>
    `ends_at = CASE WHEN ends_at - ${clock} BETWEEN ${ms} AND ${ms} + ${spareMs.most} THEN ends_at ELSE ${clock} + ${ms} + ${spareMs.least} END`;
  const isIdle = `(substr(state, ${stampBytes + 1}) = ${idle} OR state = '')`;
  const isKnown = `substr(state, 1, ${stampBytes}) = $2`;
  const counted = (name: string, text: string) => countedCommand(`${prefix}_lease_${name}`, text);
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
      occupy: telling(
        "occupy",
        `UPDATE ${leases} SET ${stamped("$2")}, ${lasting("$3::float8")} WHERE name = $1 AND ${isIdle} RETURNING ${stamp}`,
        3,
      ),
      replace: telling(
        "replace",
        `UPDATE ${leases} SET ${stamped("$5")}, ${lasting("$6::float8")}
         WHERE name = $1 AND ${isKnown} AND ${clock} >= $3 AND ${clock} < $4 RETURNING ${stamp}`,
        6,
      ),
      vacate: counted(
        "vacate",
        `UPDATE ${leases} SET ${stamped(idle)}, ${lasting(`${keptMs}`)} WHERE name = $1 AND ${isKnown}`,
      ),
      remove: counted("remove", `DELETE FROM ${leases} WHERE name = $1 AND ${isKnown}`),
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
