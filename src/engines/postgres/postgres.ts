import { AsyncLocalStorage } from "node:async_hooks";
import { TenonError } from "../../contracts/errors.ts";
import type { SqlEngine, SqlTransaction } from "../../contracts/sql.ts";
import { collided, commitFailed, nested, noConnection, rolledBack, sqlStateOf } from "./failures.ts";
import { Placeholders } from "./placeholders.ts";
import type { PostgresConnection, PostgresPool } from "./pool.ts";
import { LentTransaction } from "./transaction.ts";
import { valueTypes } from "./values.ts";

export type Isolation = "read committed" | "repeatable read" | "serializable";

export interface PostgresOptions {
  /** Of every transaction; the database's own (`read committed`, unless it was changed) when left out. */
  readonly isolation?: Isolation | undefined;
}

/**
 * Transactions on the caller's own pool (`new Pool(…)` of the package pg). Each has a connection of its own for its length and runs beside the others.
 * Errors of statements are the driver's own, but for collisions, which are `conflict`. The caller ends the pool, and listens to its
 * `error` event.
 */
export function postgres(pool: PostgresPool, options: PostgresOptions = {}): SqlEngine {
  const { isolation } = options;
  if (isolation !== undefined && !isolations.includes(isolation)) {
    throw new TenonError(
      "invalid",
      `postgres's isolation is "${isolation}". Give one of: ${isolations.join(", ")}; or leave it out.`,
    );
  }
  return new PostgresEngine(
    pool,
    isolation === undefined ? "BEGIN" : `BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}`,
  );
}

const isolations: readonly Isolation[] = ["read committed", "repeatable read", "serializable"];

class PostgresEngine implements SqlEngine {
  readonly dialect = "postgres";
  readonly #pool: PostgresPool;
  readonly #begin: string;
  readonly #placeholders = new Placeholders();
  /** Knows which transaction the running code belongs to. */
  readonly #current = new AsyncLocalStorage<LentTransaction>();

  constructor(pool: PostgresPool, begin: string) {
    this.#pool = pool;
    this.#begin = begin;
  }

  async transaction<T>(work: (transaction: SqlTransaction) => Promise<T> | T): Promise<T> {
    if (this.#current.getStore()?.ended === false) throw nested();
    const connection = await this.#connect();
    const transaction = new LentTransaction(connection, this.#placeholders);
    // A lent connection has nobody who listens, and an error that nobody listens to ends the process.
    const noticeEnd = (): void => {
      transaction.broken = true;
    };
    connection.on("error", noticeEnd);
    try {
      return await this.#run(connection, transaction, work);
    } finally {
      transaction.ended = true;
      connection.removeListener("error", noticeEnd);
      connection.release(transaction.broken);
    }
  }

  async #connect(): Promise<PostgresConnection> {
    try {
      return await this.#pool.connect();
    } catch (cause) {
      throw noConnection(cause, this.#pool.ended);
    }
  }

  async #run<T>(
    connection: PostgresConnection,
    transaction: LentTransaction,
    work: (transaction: SqlTransaction) => Promise<T> | T,
  ): Promise<T> {
    try {
      await connection.query(plain(this.#begin));
    } catch (cause) {
      transaction.broken = true;
      throw noConnection(cause, this.#pool.ended);
    }
    let result: T;
    try {
      result = await this.#current.run(transaction, work, transaction);
    } catch (error) {
      transaction.ended = true;
      await this.#rollBack(connection, transaction);
      const state = sqlStateOf(error);
      throw state === "40001" || state === "40P01" ? collided(error) : error;
    }
    transaction.ended = true;
    await this.#commit(connection, transaction);
    return result;
  }

  async #commit(connection: PostgresConnection, transaction: LentTransaction): Promise<void> {
    let command: string;
    try {
      ({ command } = await connection.query(plain("COMMIT")));
    } catch (cause) {
      transaction.broken = true;
      throw commitFailed(cause);
    }
    if (command === "ROLLBACK") throw rolledBack();
  }

  async #rollBack(connection: PostgresConnection, transaction: LentTransaction): Promise<void> {
    if (transaction.broken) return;
    try {
      await connection.query(plain("ROLLBACK"));
    } catch {
      // Closing the connection rolls back as well; the first error is the one to report.
      transaction.broken = true;
    }
  }
}

function plain(text: string) {
  return { text, values: [], types: valueTypes };
}
