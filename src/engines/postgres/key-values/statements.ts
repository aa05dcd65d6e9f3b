import type { KeyValueCommands } from "../../relational/key-values/commands.ts";
import { command } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { clock } from "../tables.ts";

/** After how many rows and bytes one answer ends. */
const rowsMax = 1_000;
const bytesMax = 4 * 1024 * 1024;

export function keyValueStatements({ prefix, meta, keyValues }: Tables): KeyValueCommands {
  const statement = (name: string, text: string) => command(`${prefix}_kv_${name}`, text);
  const isPresent = `value IS NOT NULL AND (expires_at IS NULL OR expires_at > ${clock})`;
  return {
    get: statement(
      "get",
      `SELECT key, value, version, expires_at FROM ${keyValues} WHERE key = ANY($1::bytea[]) AND ${isPresent}`,
    ),
    /** Versions are given under this row's lock, so that they are in the order of the commits. */
    lock: statement("lock", `SELECT value AS version FROM ${meta} WHERE name = 'version' FOR UPDATE`),
    /** As they stand under the lock, ended or not. */
    met: statement(
      "met",
      `SELECT c.now, k.key, k.value, k.version, k.expires_at FROM (SELECT ${clock} AS now) c
       LEFT JOIN ${keyValues} k ON k.key = ANY($1::bytea[]) AND k.value IS NOT NULL`,
    ),
    /** Keys, values (NULL: deleted), versions, ends; the instant; the last version; whom to tell. */
    write: statement(
      "write",
      `WITH changed AS (
         INSERT INTO ${keyValues} (key, value, version, expires_at, deleted_at)
         SELECT u.key, u.value, u.version, u.expires_at, CASE WHEN u.value IS NULL THEN $5::float8 END
         FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::float8[]) AS u (key, value, version, expires_at)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version,
           expires_at = excluded.expires_at, deleted_at = excluded.deleted_at
         RETURNING 1
       )
       UPDATE ${meta} SET value = $6 WHERE name = 'version'
       RETURNING pg_notify($7, '')`,
    ),
    /** Keys whose time has passed are deleted, under the version that comes next; $1: the instant, $2: whom to tell. */
    end: statement(
      "end",
      `WITH ended AS (
         SELECT key FROM ${keyValues} WHERE expires_at <= $1 ORDER BY expires_at LIMIT ${rowsMax}
       ), gone AS (
         UPDATE ${keyValues} k SET value = NULL, expires_at = NULL, deleted_at = $1, version = (SELECT value + 1 FROM ${meta} WHERE name = 'version')
         FROM ended WHERE k.key = ended.key RETURNING 1
       )
       UPDATE ${meta} SET value = value + 1 WHERE name = 'version' AND EXISTS (SELECT 1 FROM gone) RETURNING pg_notify($2, '')`,
    ),
    /** Deletes that nobody needs to hear of any more: those from before $1. */
    forget: statement(
      "forget",
      `WITH old AS (
         SELECT key FROM ${keyValues} WHERE deleted_at < $1 ORDER BY deleted_at LIMIT ${rowsMax}
       ), gone AS (
         DELETE FROM ${keyValues} k USING old WHERE k.key = old.key RETURNING k.version
       )
       UPDATE ${meta} SET value = greatest(value, (SELECT max(version) FROM gone)) WHERE name = 'forgotten' AND EXISTS (SELECT 1 FROM gone)`,
    ),
    trySweep: statement(
      "try_sweep",
      `SELECT ${clock} AS now FROM ${meta} WHERE name = 'version' FOR UPDATE SKIP LOCKED`,
    ),
    /** From $1 on ($4: or behind it) to below $2, $3 rows; one more tells that there are more. */
    page: statement(
      "page",
      `SELECT m.version AS at, f.* FROM (SELECT value AS version FROM ${meta} WHERE name = 'version') m LEFT JOIN LATERAL (
         SELECT key, value, version, expires_at, row_number() OVER (ORDER BY key) AS number, count(*) OVER () AS count,
           sum(length(value)) OVER (ORDER BY key) - length(value) AS before
         FROM (
           SELECT * FROM ${keyValues} WHERE key >= $1 AND ($4 OR key > $1) AND ($2::bytea IS NULL OR key < $2) AND ${isPresent}
           ORDER BY key LIMIT $3 + 1
         ) o
       ) f ON f.number <= $3 AND f.before < ${bytesMax} ORDER BY f.key`,
    ),
    /** Changes since version $1 of keys with one of the prefixes $2. */
    changes: statement(
      "changes",
      `SELECT m.*, f.* FROM (
         SELECT (SELECT value FROM ${meta} WHERE name = 'version') AS at, (SELECT value FROM ${meta} WHERE name = 'forgotten') AS forgotten,
           ${clock} AS now, (SELECT min(expires_at) FROM ${keyValues} WHERE expires_at IS NOT NULL) AS ends,
           pg_postmaster_start_time()::text AS server
       ) m LEFT JOIN LATERAL (
         SELECT key, value, version, expires_at, count(*) OVER () AS count,
           coalesce(sum(length(value)) OVER (ORDER BY version RANGE UNBOUNDED PRECEDING EXCLUDE GROUP), 0) AS before
         FROM (
           SELECT * FROM ${keyValues} WHERE version > $1
             AND EXISTS (SELECT 1 FROM unnest($2::bytea[]) p WHERE substring(key FROM 1 FOR length(p)) = p)
           ORDER BY version FETCH FIRST ${rowsMax} ROWS WITH TIES
         ) o
       ) f ON f.before < ${bytesMax} ORDER BY f.version`,
    ),
    rowsMax,
  };
}
