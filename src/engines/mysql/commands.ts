import type { Command, Parameter, Row, Sql } from "../relational/sql.ts";
import type { Done } from "./mysql-wire.ts";

/** A statement by its text; the server knows it by nothing else. */
export type Ask = (sql: Sql, ...values: Parameter[]) => Promise<readonly Row[]>;

export function ask(text: string): Ask {
  const statement = { name: "", text };
  return (sql, ...values) => sql.run(statement, values);
}

/** A command that is one statement with rows. */
export function rowsOf(text: string): Command {
  const statement = { name: "", text };
  return (sql, values) => sql.run(statement, values);
}

/** A command that is one change, and answers no rows. */
export function change(text: string): Command {
  const asked = rowsOf(text);
  return async (sql, values) => {
    await asked(sql, values);
    return [];
  };
}

/** One that answers rows if there was what it was to change, whether or not that made a difference; `there` looks for it. */
export function changeIf(text: string, there: string): Command {
  const [asked, look] = [rowsOf(text), rowsOf(there)];
  return async (sql, values) => {
    const rows = await asked(sql, values);
    // Clients count either what was found or what has changed.
    return affectedBy(rows) > 0 ? rows : look(sql, values);
  };
}

export function affectedBy(rows: readonly Row[]): number {
  return (rows[0] as Done).affected;
}

/** Columns as rows. */
export function zip(...columns: Parameter[]): readonly (readonly Parameter[])[] {
  const lists = columns as readonly (readonly Parameter[])[];
  return (lists[0] ?? []).map((_, row) => lists.map((column) => column[row]!));
}

/** Well below `max_allowed_packet`, as bytes take two digits each. A row by itself may be larger. */
export const requestBytes = 3 * 1024 * 1024;
const requestRows = 5_000;

/** Inserts rows where `$1` stands in the text, in as many requests as are needed. */
export function insertion(text: string): (sql: Sql, rows: readonly (readonly Parameter[])[]) => Promise<void> {
  const insert = ask(text);
  return async (sql, rows) => {
    for (let at = 0; at < rows.length; ) {
      let end = at;
      for (let bytes = 0; end < rows.length && end - at < requestRows; end++) {
        for (const value of rows[end]!) if (value instanceof Uint8Array) bytes += value.length;
        if (end > at && bytes > requestBytes) break;
      }
      await insert(sql, rows.slice(at, end));
      at = end;
    }
  };
}

/** How many values of a list go with one request, and about how many bytes. */
const listMax = 2_000;

/** A command that is one statement with rows and may be asked about more values than one request holds: those of the list in one place go in parts. */
export function rowsInParts(text: string, place: number): Command {
  const asked = rowsOf(text);
  return async (sql, values) => {
    const list = values[place - 1] as readonly Uint8Array[];
    const found: Row[] = [];
    for (let at = 0; at === 0 || at < list.length; ) {
      const end = endOfPart(list, at);
      found.push(...(await asked(sql, values.with(place - 1, list.slice(at, end)))));
      at = Math.max(end, at + 1);
    }
    return found;
  };
}

function endOfPart(list: readonly Uint8Array[], from: number): number {
  let end = from;
  for (let bytes = 0; end < list.length && end - from < listMax; end++) {
    bytes += list[end]!.length;
    if (end > from && bytes > requestBytes) break;
  }
  return end;
}

/**
 * Numbers that grow, out of a table that has nothing but them. Giving one takes no lock that outlives the statement, as counting in a row would; the rows are deleted some time. Answers the instant, and the
 * numbers.
 */
export function drawing(table: string, clock: string): (sql: Sql, count: number) => Promise<readonly Row[]> {
  const now = ask(`SELECT ${clock} AS now`);
  const insert = ask(`INSERT INTO ${table} (id) VALUES $1`);
  const look = ask(`SELECT ${clock} AS now, LAST_INSERT_ID() AS first, @@auto_increment_increment AS step`);
  return async (sql, count) => {
    if (count === 0) return now(sql);
    await insert(
      sql,
      Array.from({ length: count }, () => [null]),
    );
    const [row] = await look(sql);
    const { now: instant, first, step } = row as unknown as Record<"now" | "first" | "step", number>;
    return Array.from({ length: count }, (_, index) => ({ now: instant, number: first + index * step }));
  };
}

/** Deletes numbers that were drawn long ago. */
export function discarding(table: string): (sql: Sql) => Promise<void> {
  const last = ask(`SELECT MAX(id) AS last FROM ${table}`);
  const remove = ask(`DELETE FROM ${table} WHERE id < $1 LIMIT 20000`);
  return async (sql) => {
    const [row] = await last(sql);
    if (row!.last !== null) await remove(sql, Number(row!.last) - 1_000);
  };
}

/** Finds without locks, and deletes by the primary key, in its order, what is still so: whoever works on a row is waited for, and nobody waits in a circle. */
export function sweeping(
  table: string,
  key: string,
  where: string,
  limit: number,
): (sql: Sql, ...values: Parameter[]) => Promise<readonly Row[]> {
  const find = ask(`SELECT ${key} AS id FROM ${table} WHERE ${where} LIMIT ${limit}`);
  return async (sql, ...values) => {
    const found = (await find(sql, ...values)).map(({ id }) => id as Buffer);
    if (found.length === 0) return [];
    found.sort(Buffer.compare);
    const place = `$${values.length + 1}`;
    return ask(`DELETE FROM ${table} WHERE ${where} AND ${key} IN (${place})`)(sql, ...values, found);
  };
}
