import { TenonError } from "../../contracts/errors.ts";
import type { Parameter, Row, Statement } from "../relational/sql.ts";
import type { Wire } from "../relational/wire.ts";
import { cut, leave, type MysqlClient } from "./clients.ts";
import { prepared, render } from "./literals.ts";
import { decoded } from "./values.ts";

/** After so many seconds without a request the server ends a session, and what it was about. */
export function idleSecondsOf(commandTimeoutMs: number): number {
  return 3 * Math.ceil(commandTimeoutMs / 1_000);
}

/** What a statement without rows answers instead of them, as a row. */
export interface Done extends Row {
  readonly affected: number;
  /** The first of the numbers that the server gave. */
  readonly inserted: number;
}

export interface MysqlStatement extends Statement {
  /** Each session prepares it when it is first asked. The client reads nothing but text and bytes out of the rows of such a one. */
  readonly isPrepared?: boolean | undefined;
}

/** A connection of the package mysql2. Statements go as text, unless they say otherwise: each is one request, and none has to be prepared anew on each of the connections. */
export class MysqlWire implements Wire {
  readonly #connect: () => Promise<MysqlClient>;
  readonly #commandTimeoutMs: number;
  readonly #hearing: ((error: Error) => void)[] = [];
  #client: MysqlClient | undefined;
  #isCut = false;

  constructor(connect: () => Promise<MysqlClient>, commandTimeoutMs: number) {
    this.#connect = connect;
    this.#commandTimeoutMs = commandTimeoutMs;
  }

  async open(): Promise<void> {
    const client = await this.#connect();
    const wanted = ["query", "execute", "end", "destroy", "on"] as const;
    if (typeof client !== "object" || client === null || wanted.some((name) => typeof client[name] !== "function")) {
      throw new TenonError(
        "invalid",
        "connect must answer a connection of the package mysql2/promise, or a promise of one",
      );
    }
    this.#client = client;
    client.on("error", (error) => this.#broke(error));
    client.on("end", () => this.#broke(new Error("the connection was ended")));
    if (this.#isCut) {
      cut(client);
      return;
    }
    await this.#prepare();
  }

  /** Whatever the server's and the client's defaults are. A transaction of a process that stands still must not hold its locks for ever. */
  async #prepare(): Promise<void> {
    const seconds = Math.ceil(this.#commandTimeoutMs / 1_000);
    // A little sooner than the answer is given up, so that it is certain that nothing has happened.
    const lockSeconds = Math.max(1, Math.floor((this.#commandTimeoutMs - 500) / 1_000));
    const idle = idleSecondsOf(this.#commandTimeoutMs);
    await this.simple(
      `SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', autocommit = 1, time_zone = '+00:00',
       innodb_lock_wait_timeout = ${lockSeconds}, lock_wait_timeout = ${lockSeconds}, wait_timeout = ${idle}, net_read_timeout = ${idle}, net_write_timeout = ${idle}`,
    );
    await this.simple("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    // MySQL has nothing of the kind; there wait_timeout does it, later.
    const [row] = await this.simple("SELECT VERSION() LIKE '%MariaDB%' AS is_mariadb");
    if (row?.is_mariadb === 1) await this.simple(`SET SESSION idle_transaction_timeout = ${seconds}`);
  }

  #broke(error: Error): void {
    for (const hear of this.#hearing) hear(error);
  }

  async run({ text, isPrepared }: MysqlStatement, values: readonly Parameter[]): Promise<readonly Row[]> {
    if (isPrepared !== true) return this.simple(render(text, values));
    const [result] = await this.#client!.execute(asRows(prepared(text, values)));
    return rowsIn(result);
  }

  async simple(sql: string): Promise<readonly Row[]> {
    const [result] = await this.#client!.query(asRows({ sql }));
    return rowsIn(result);
  }

  async commit(): Promise<void> {
    await this.simple("COMMIT");
  }

  onBreak(hear: (error: Error) => void): void {
    this.#hearing.push(hear);
  }

  async leave(): Promise<void> {
    this.#isCut = true;
    if (this.#client !== undefined) await leave(this.#client);
  }

  cut(): void {
    this.#isCut = true;
    if (this.#client !== undefined) cut(this.#client);
  }
}

/** Whatever the client's own settings are. */
function asRows<Q>(query: Q) {
  return { ...query, rowsAsArray: false, nestTables: false, typeCast: decoded };
}

function rowsIn(result: unknown): readonly Row[] {
  if (Array.isArray(result)) return result as Row[];
  const { affectedRows, insertId } = result as { affectedRows: number; insertId: number };
  const done: Done = { affected: affectedRows, inserted: Number(insertId) };
  return [done];
}
