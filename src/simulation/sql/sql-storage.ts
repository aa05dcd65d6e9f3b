import { constants, DatabaseSync, type StatementSync } from "node:sqlite";
import { assert, TenonError } from "../../contracts/errors.ts";
import type { SqlRow, SqlValue } from "../../contracts/sql.ts";
import { requireValues } from "./sql-messages.ts";
import { type SqlMoment, SqlMoments } from "./sql-moment.ts";

const STATEMENTS_KEPT_MAX = 200;
/** Comments and white space, then what begins or ends a transaction; `ROLLBACK TO` a savepoint does not. */
const endsTransaction =
  /^(?:\s|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*(?:begin|commit|end|rollback(?!\s+(?:transaction\s+)?to\b))\b/i;
const onlyReads = /^\s*(?:select|values|explain)\b/i;

export interface SqlStatement {
  readonly sql: string;
  readonly parameters: readonly SqlValue[];
}

interface Ran extends SqlStatement {
  readonly moment: SqlMoment;
  readonly failed: boolean;
}

/**
 * A database in memory with at most one open transaction. What is committed can be looked at at any time: it is a second database, in which each transaction
 * runs again once it has committed.
 */
export class SqlStorage {
  readonly #scratch = new DatabaseSync(":memory:");
  readonly #moments = new SqlMoments((call, parameters) => this.#evaluate(call, parameters));
  readonly #working = this.#opened();
  readonly #committed = this.#opened();
  #ran: Ran[] = [];

  constructor(schema: string | undefined, moment: SqlMoment) {
    for (const { database } of [this.#working, this.#committed]) {
      this.#moments.set(moment);
      if (schema !== undefined) database.exec(schema);
    }
  }

  /** `false` also when SQLite has ended a transaction by itself. */
  get inTransaction(): boolean {
    return this.#working.database.isTransaction;
  }

  begin(): void {
    assert(!this.inTransaction, "a transaction is open");
    this.#ran = [];
    this.#working.database.exec("BEGIN IMMEDIATE");
  }

  /** Runs one statement of the open transaction; SQLite may then have rolled it back. */
  run<Result>(
    statement: SqlStatement,
    moment: SqlMoment,
    how: (statements: Statements, statement: SqlStatement) => Result,
  ): Result {
    refuseTransactionControl(statement.sql);
    this.#moments.set(moment);
    let failed = true;
    try {
      const result = how(this.#working, statement);
      failed = false;
      return result;
    } finally {
      if (!onlyReads.test(statement.sql)) this.#ran.push({ ...statement, moment, failed });
    }
  }

  commit(): void {
    this.#working.database.exec("COMMIT");
    this.#repeat();
  }

  rollBack(): void {
    this.#ran = [];
    if (this.inTransaction) this.#working.database.exec("ROLLBACK");
  }

  /** Reads what is committed, and cannot change it. */
  look(statement: SqlStatement): readonly SqlRow[] {
    const { database } = this.#committed;
    database.exec("PRAGMA query_only = ON");
    try {
      return this.#committed.all(statement);
    } finally {
      database.exec("PRAGMA query_only = OFF");
    }
  }

  #repeat(): void {
    const ran = this.#ran;
    this.#ran = [];
    const { database } = this.#committed;
    database.exec("BEGIN IMMEDIATE");
    for (const { failed, moment, ...statement } of ran) {
      this.#moments.set(moment);
      let failedAgain = true;
      try {
        this.#committed.all(statement);
        failedAgain = false;
      } catch {}
      assert(failed === failedAgain, `a statement did otherwise when it ran again: ${statement.sql}`);
    }
    database.exec("COMMIT");
  }

  #opened(): Statements {
    const database = new DatabaseSync(":memory:");
    this.#moments.install(database);
    // VACUUM INTO attaches its file as well. Node before 24.10 has no such hook.
    database.setAuthorizer?.((action) => {
      if (action === constants.SQLITE_ATTACH) throw otherDatabase();
      return constants.SQLITE_OK;
    });
    return new Statements(database);
  }

  #evaluate(call: string, parameters: readonly SqlValue[]): SqlValue {
    const statement = this.#scratch.prepare(`SELECT ${call} AS value`);
    statement.setReadBigInts(true);
    return statement.get(...parameters)!.value as SqlValue;
  }
}

/** Runs statements by their text, and keeps them prepared. */
export class Statements {
  readonly database: DatabaseSync;
  readonly #prepared = new Map<string, StatementSync>();

  constructor(database: DatabaseSync) {
    this.database = database;
  }

  /** The number of rows changed. */
  change({ sql, parameters }: SqlStatement): number {
    requireValues(parameters);
    return Number(this.#prepare(sql).run(...parameters).changes);
  }

  /** Integers are numbers where those are exact. */
  all({ sql, parameters }: SqlStatement): readonly SqlRow[] {
    requireValues(parameters);
    const rows = this.#prepare(sql).all(...parameters) as readonly Record<string, SqlValue>[];
    return rows.map((row) => Object.fromEntries(Object.entries(row).map(([column, value]) => [column, plain(value)])));
  }

  #prepare(sql: string): StatementSync {
    const known = this.#prepared.get(sql);
    if (known !== undefined) return known;
    const statement = this.database.prepare(sql);
    statement.setReadBigInts(true);
    if (this.#prepared.size >= STATEMENTS_KEPT_MAX) this.#prepared.clear();
    this.#prepared.set(sql, statement);
    return statement;
  }
}

function plain(value: SqlValue): SqlValue {
  if (typeof value !== "bigint") return value;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function refuseTransactionControl(sql: string): void {
  if (!endsTransaction.test(sql)) return;
  throw new TenonError(
    "conflict",
    "A statement would have begun or ended a transaction. Leave BEGIN, COMMIT and ROLLBACK to transaction().",
  );
}

function otherDatabase(): TenonError {
  return new TenonError(
    "unsupported",
    "ATTACH and VACUUM would open a file outside of the simulation. Keep everything in the simulated database, or make another one.",
  );
}
