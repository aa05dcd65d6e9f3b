import type { KeyValueCommands } from "../../relational/key-values/commands.ts";
import type { Command, Parameter, Row, Sql } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { ask, insertion, rowsInParts, rowsOf, zip } from "../commands.ts";
import type { Notices } from "../notices.ts";
import { ServerLife } from "../server-life.ts";
import { clock } from "../tables.ts";

/** After how many rows and bytes one answer ends. */
const rowsMax = 1_000;
const bytesMax = 4 * 1024 * 1024;

export function keyValueCommands({ meta, keyValues }: Tables, notices: Notices): KeyValueCommands {
  const isPresent = `value IS NOT NULL AND (expires_at IS NULL OR expires_at > ${clock})`;
  const version = `SELECT value AS version, ${clock} AS now FROM ${meta} WHERE name = 'version' FOR UPDATE`;
  return {
    get: rowsInParts(
      `SELECT "key", value, version, expires_at FROM ${keyValues} WHERE "key" IN ($1) AND ${isPresent}`,
      1,
    ),
    lock: rowsOf(version),
    met: rowsOf(
      `SELECT c.now, k."key", k.value, k.version, k.expires_at FROM (SELECT ${clock} AS now) c
       LEFT JOIN ${keyValues} k ON k."key" IN ($1) AND k.value IS NOT NULL`,
    ),
    write: writing(meta, keyValues, notices),
    end: ending(meta, keyValues, notices),
    forget: forgetting(meta, keyValues),
    trySweep: rowsOf(`${version} SKIP LOCKED`),
    page: paging(meta, keyValues, isPresent),
    changes: changing(meta, keyValues),
    rowsMax,
  };
}

/** By size first: values that do not fit are not read. One row more than asked for tells that there are more. */
function paging(meta: string, keyValues: string, isPresent: string): Command {
  const page = ask(
    `SELECT m.value AS at, f.count, k."key", k.value, k.version, k.expires_at FROM ${meta} m LEFT JOIN (
       SELECT o."key", ROW_NUMBER() OVER (ORDER BY o."key") AS number, COUNT(*) OVER () AS count, SUM(o.size) OVER (ORDER BY o."key") - o.size AS bytes_before
       FROM (
         SELECT "key", size FROM ${keyValues} WHERE "key" >= $1 AND ($4 OR "key" > $1) AND ($2 IS NULL OR "key" < $2) AND ${isPresent}
         ORDER BY "key" LIMIT $5
       ) o
     ) f ON f.number <= $3 AND f.bytes_before < ${bytesMax} LEFT JOIN ${keyValues} k ON k."key" = f."key" WHERE m.name = 'version' ORDER BY f.number`,
  );
  return (sql, [from, to, size, including]) => page(sql, from!, to!, size!, including!, (size as number) + 1);
}

/** Whoever listens sees the last version, so nobody needs to be told. */
function writing(meta: string, keyValues: string, notices: Notices): Command {
  const insert = insertion(
    `INSERT INTO ${keyValues} ("key", value, version, expires_at, deleted_at, size) VALUES $1 ON DUPLICATE KEY UPDATE
       value = VALUES(value), version = VALUES(version), expires_at = VALUES(expires_at), deleted_at = VALUES(deleted_at), size = VALUES(size)`,
  );
  const raise = ask(`UPDATE ${meta} SET value = $1 WHERE name = 'version'`);
  return async (sql, [keys, values, versions, ends, now, version]) => {
    const rows = zip(keys!, values!, versions!, ends!).map(([key, value, number, end]) => {
      const size = value === null ? 0 : (value as Uint8Array).length;
      return [key!, value!, number!, end!, value === null ? now! : null, size];
    });
    await insert(sql, rows);
    await raise(sql, version!);
    notices.note(sql);
    return [];
  };
}

function ending(meta: string, keyValues: string, notices: Notices): Command {
  const find = ask(`SELECT "key" FROM ${keyValues} WHERE expires_at <= $1 ORDER BY expires_at LIMIT ${rowsMax}`);
  const raise = ask(`UPDATE ${meta} SET value = value + 1 WHERE name = 'version'`);
  const end = ask(
    `UPDATE ${keyValues} SET value = NULL, size = 0, expires_at = NULL, deleted_at = $1, version = (SELECT value FROM ${meta} WHERE name = 'version') WHERE "key" IN ($2)`,
  );
  return async (sql, [now]) => {
    const keys = (await find(sql, now!)).map(({ key }) => key as Buffer);
    if (keys.length === 0) return [];
    await raise(sql);
    await end(sql, now!, keys);
    notices.note(sql);
    return [];
  };
}

function forgetting(meta: string, keyValues: string): Command {
  const find = ask(
    `SELECT "key", version FROM ${keyValues} WHERE deleted_at < $1 ORDER BY deleted_at LIMIT ${rowsMax}`,
  );
  const remove = ask(`DELETE FROM ${keyValues} WHERE "key" IN ($1)`);
  const note = ask(`UPDATE ${meta} SET value = GREATEST(value, $1) WHERE name = 'forgotten'`);
  return async (sql, [before]) => {
    const rows = await find(sql, before!);
    if (rows.length === 0) return [];
    await remove(
      sql,
      rows.map(({ key }) => key as Buffer),
    );
    await note(sql, Math.max(...rows.map((row) => Number(row.version))));
    return [];
  };
}

function changing(meta: string, keyValues: string): Command {
  const life = new ServerLife();
  return async (sql, [since, given]) => {
    const prefixes = given as readonly Buffer[];
    const server = await life.nameOf(sql);
    const rows = await readChanges(sql, since!, prefixes);
    return rows.map((row) => ({ ...row, server }));
  };

  /** Whole versions only: where the rows end in the midst of one, all of its rows come. */
  function readChanges(sql: Sql, since: Parameter, prefixes: readonly Buffer[]): Promise<readonly Row[]> {
    const named = prefixes.map((_, index) => `LEFT("key", LENGTH($${index + 2})) = $${index + 2}`).join(" OR ");
    const where = prefixes.some(({ length }) => length === 0) ? "version > $1" : `version > $1 AND (${named})`;
    const text = `SELECT m.value AS at, (SELECT value FROM ${meta} WHERE name = 'forgotten') AS forgotten, ${clock} AS now,
         (SELECT MIN(expires_at) FROM ${keyValues} WHERE expires_at IS NOT NULL) AS ends, f.count, k."key", k.value, k.version, k.expires_at
       FROM ${meta} m LEFT JOIN (
         SELECT o."key", COUNT(*) OVER () AS count, SUM(o.size) OVER (ORDER BY o.version) - SUM(o.size) OVER (PARTITION BY o.version) AS bytes_before
         FROM (
           SELECT "key", version, size FROM ${keyValues} WHERE ${where} AND version <= COALESCE(
             (SELECT version FROM ${keyValues} WHERE ${where} ORDER BY version LIMIT 1 OFFSET ${rowsMax - 1}), 9223372036854775807)
         ) o
       ) f ON f.bytes_before < ${bytesMax} LEFT JOIN ${keyValues} k ON k."key" = f."key" WHERE m.name = 'version' ORDER BY k.version`;
    return ask(text)(sql, since, ...prefixes);
  }
}
