import type { SqliteDatabase, SqliteParameter, SqliteStatement } from "./database.ts";

/** Runs statements by their text. */
export interface Statements {
  /** The number of rows changed. */
  run(sql: string, parameters?: readonly SqliteParameter[]): number;
  all(sql: string, parameters: readonly SqliteParameter[]): unknown[];
}

/** Keeps the prepared statements that were used last. */
export class StatementCache implements Statements {
  readonly #database: SqliteDatabase;
  readonly #countMax: number;
  /** In the order of last use. */
  readonly #prepared = new Map<string, SqliteStatement>();

  constructor(database: SqliteDatabase, countMax: number) {
    this.#database = database;
    this.#countMax = countMax;
  }

  run(sql: string, parameters: readonly SqliteParameter[] = []): number {
    return Number(this.#prepare(sql).run(...parameters).changes);
  }

  all(sql: string, parameters: readonly SqliteParameter[]): unknown[] {
    return this.#prepare(sql).all(...parameters);
  }

  #prepare(sql: string): SqliteStatement {
    const known = this.#prepared.get(sql);
    if (known !== undefined) {
      this.#prepared.delete(sql);
      this.#prepared.set(sql, known);
      return known;
    }
    const statement = this.#database.prepare(sql);
    if (this.#prepared.size >= this.#countMax) {
      for (const oldest of this.#prepared.keys()) {
        this.#prepared.delete(oldest);
        break;
      }
    }
    this.#prepared.set(sql, statement);
    return statement;
  }
}
