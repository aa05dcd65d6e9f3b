import { TenonError } from "../../contracts/errors.ts";
import type { SqlRow, SqlTransaction, SqlValue } from "../../contracts/sql.ts";
import type { SqliteDatabase } from "./database.ts";
import type { Statements } from "./statements.ts";

/** One transaction on the connection, until it has `ended`. */
export class ConnectionTransaction implements SqlTransaction {
  readonly #database: SqliteDatabase;
  readonly #statements: Statements;
  ended = false;

  constructor(database: SqliteDatabase, statements: Statements) {
    this.#database = database;
    this.#statements = statements;
  }

  async execute(sql: string, parameters: readonly SqlValue[] = []): Promise<number> {
    this.#requireOpen();
    return this.#statements.run(sql, parameters);
  }

  async query(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    this.#requireOpen();
    return this.#statements.all(sql, parameters) as readonly SqlRow[];
  }

  #requireOpen(): void {
    if (this.ended) {
      throw new TenonError(
        "closed",
        "A statement came after the end of its transaction. Await every statement before the work resolves.",
      );
    }
    // Some errors (a full disk, ON CONFLICT ROLLBACK) end the transaction; what came next would then be committed on its own.
    if (!this.#database.isTransaction) {
      throw new TenonError(
        "conflict",
        "SQLite has already rolled this transaction back because of an earlier error. Let that error pass out of the work.",
      );
    }
  }
}
