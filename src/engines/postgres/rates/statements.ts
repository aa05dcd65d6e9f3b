import type { RateCommands } from "../../relational/rates/commands.ts";
import { command } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { clock } from "../tables.ts";

export function rateStatements({ prefix, rates }: Tables): RateCommands {
  const statement = (name: string, text: string) => command(`${prefix}_rate_${name}`, text);
  return {
    /** Makes rows where there are none, so that there is something to lock; one after the other in the order of the keys. */
    lock: statement(
      "lock",
      `INSERT INTO ${rates} AS r (key, state, ends_at) SELECT n, ''::bytea, 0 FROM unnest($1::bytea[]) n ORDER BY n
       ON CONFLICT (key) DO UPDATE SET ends_at = r.ends_at RETURNING key, state, ends_at`,
    ),
    /** Under the locks. */
    now: statement("now", `SELECT ${clock} AS now`),
    write: statement(
      "write",
      `WITH kept AS (
         UPDATE ${rates} r SET state = u.state, ends_at = u.ends_at
         FROM unnest($1::bytea[], $2::bytea[], $3::float8[]) AS u (key, state, ends_at) WHERE r.key = u.key
       ) DELETE FROM ${rates} WHERE key = ANY($4::bytea[])`,
    ),
    sweep: statement(
      "sweep",
      `DELETE FROM ${rates} WHERE key IN (SELECT key FROM ${rates} WHERE ends_at <= ${clock} LIMIT 1000 FOR UPDATE SKIP LOCKED)`,
    ),
  };
}
