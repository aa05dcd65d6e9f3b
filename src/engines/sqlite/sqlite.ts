import { AsyncLocalStorage } from "node:async_hooks";
import { TenonError } from "../../contracts/errors.ts";
import type { SqlEngine, SqlTransaction } from "../../contracts/sql.ts";
import type { SqliteDatabase } from "./database.ts";
import { commitFailed, isOpenBefore, refused } from "./failures.ts";
import { StatementCache, type Statements } from "./statements.ts";
import { ConnectionTransaction } from "./transaction.ts";

export interface SqliteOptions {
  /** Prepared statements kept, by their text; the one used longest ago goes first. 100 when left out. */
  readonly statementsMax?: number | undefined;
}

/**
 * Transactions on the caller's own connection (`new DatabaseSync(file)`). There is one connection, so they run one after another, in the
 * order in which they were asked for. What the caller runs on the connection himself while one is open becomes part of it: give
 * Tenon a connection of its own, or write through `transaction` only. Durability is what the caller's pragmas say. Errors of
 * statements are the driver's own. The caller closes the database.
 */
export function sqlite(database: SqliteDatabase, options: SqliteOptions = {}): SqlEngine {
  const { statementsMax = 100 } = options;
  if (!(Number.isSafeInteger(statementsMax) && statementsMax >= 1)) {
    throw new TenonError("invalid", `sqlite's statementsMax is ${statementsMax}. Give a whole number of at least 1.`, {
      fields: { statementsMax },
    });
  }
  return new SqliteEngine(database, new StatementCache(database, statementsMax));
}

class SqliteEngine implements SqlEngine {
  readonly dialect = "sqlite";
  readonly #database: SqliteDatabase;
  readonly #statements: Statements;
  /** Knows which transaction the running code belongs to: one that waited for its own end would wait for ever. */
  readonly #current = new AsyncLocalStorage<ConnectionTransaction>();
  /** Settles, without an error, when the last transaction asked for has ended. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(database: SqliteDatabase, statements: Statements) {
    this.#database = database;
    this.#statements = statements;
  }

  transaction<T>(work: (transaction: SqlTransaction) => Promise<T> | T): Promise<T> {
    if (this.#current.getStore()?.ended === false) return Promise.reject(nested());
    const result = this.#last.then(() => this.#run(work));
    this.#last = result.then(ignore, ignore);
    return result;
  }

  async #run<T>(work: (transaction: SqlTransaction) => Promise<T> | T): Promise<T> {
    this.#begin();
    const transaction = new ConnectionTransaction(this.#database, this.#statements);
    let result: T;
    try {
      result = await this.#current.run(transaction, work, transaction);
    } catch (error) {
      transaction.ended = true;
      this.#rollBack();
      throw error;
    }
    transaction.ended = true;
    this.#commit();
    return result;
  }

  #begin(): void {
    if (this.#isOpen()) throw isOpenBefore();
    try {
      // Taking the write lock now means that a transaction never fails in its middle because it read before it wrote.
      this.#statements.run("BEGIN IMMEDIATE");
    } catch (cause) {
      throw refused(cause);
    }
  }

  #commit(): void {
    if (!this.#isOpen()) {
      throw new TenonError(
        "conflict",
        "The transaction was ended by one of its own statements, or rolled back by SQLite after an error that the work ignored. Let the error pass, and leave COMMIT and ROLLBACK to transaction().",
        {
          outcome: "unknown",
        },
      );
    }
    try {
      this.#statements.run("COMMIT");
    } catch (cause) {
      this.#rollBack();
      throw commitFailed(cause);
    }
  }

  #isOpen(): boolean {
    try {
      return this.#database.isTransaction;
    } catch (cause) {
      // Closing the database has rolled back.
      throw refused(cause);
    }
  }

  #rollBack(): void {
    try {
      if (this.#database.isTransaction) this.#statements.run("ROLLBACK");
    } catch {
      // Closing or losing the connection rolls back as well; the first error is the one to report.
    }
  }
}

function nested(): TenonError {
  return new TenonError(
    "conflict",
    "transaction() was called inside a transaction of the same connection, which would wait for itself. Use the transaction at hand, or start the other one after its end.",
  );
}

function ignore(): void {}
