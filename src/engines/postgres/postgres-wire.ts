import { crc32 } from "node:zlib";
import { TenonError } from "../../contracts/errors.ts";
import type { Command, Parameter, Row, Statement } from "../relational/sql.ts";
import type { Wire } from "../relational/wire.ts";
import type { PostgresClient } from "./clients.ts";
import { commandOf, type PostgresQuery, type PostgresResult } from "./pool.ts";
import { valueTypes } from "./values.ts";

/** PostgreSQL cuts longer names, and two statements would have one name. */
const nameBytesMax = 63;

export function shortName(name: string, text: string): string {
  if (name.length <= nameBytesMax) return name;
  const mark = `_${crc32(name).toString(36)}${crc32(text).toString(36)}`;
  return name.slice(0, nameBytesMax - mark.length) + mark;
}

export interface PostgresStatement extends Statement {
  /** It has no rows, and answers one if it changed any. To return one costs the client and the server a third of what the statement itself does. */
  readonly isCounted?: boolean | undefined;
}

export function countedCommand(name: string, text: string): Command {
  const statement: PostgresStatement = { name, text, isCounted: true };
  return (sql, values) => sql.run(statement, values);
}

const changedRows: readonly Row[] = [{}];

/** A `Client` of the package pg. */
export class PostgresWire implements Wire {
  readonly client: PostgresClient;
  readonly #commandTimeoutMs: number;

  constructor(connect: () => PostgresClient, commandTimeoutMs: number) {
    const client = connect();
    const wanted = ["connect", "query", "end", "on"] as const;
    if (typeof client !== "object" || client === null || wanted.some((name) => typeof client[name] !== "function")) {
      throw new TenonError("invalid", "connect must answer a new Client of the package pg, not yet connected");
    }
    this.client = client;
    this.#commandTimeoutMs = commandTimeoutMs;
  }

  get pipelines(): boolean {
    return this.client.pipeline === true;
  }

  /** A transaction of a process that stands still must not hold its locks for ever. */
  async open(): Promise<void> {
    const ms = this.#commandTimeoutMs;
    await this.client.connect();
    await this.simple(
      `SET client_encoding = 'UTF8'; SET default_transaction_isolation = 'read committed'; SET lock_timeout = ${ms}; SET idle_in_transaction_session_timeout = ${ms}; SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')`,
    );
  }

  async run({ name, text, isCounted }: PostgresStatement, values: readonly Parameter[]): Promise<readonly Row[]> {
    const query = { name: shortName(name, text), text, values: values.map(asParameter), types: valueTypes };
    const { rows, rowCount } = await this.#query(query);
    return isCounted && rowCount ? changedRows : (rows as readonly Row[]);
  }

  simple(text: string): Promise<PostgresResult> {
    return this.#query({ text, values: [], types: valueTypes });
  }

  async commit(): Promise<void> {
    const answered = await this.simple("COMMIT");
    if (commandOf(answered) === "ROLLBACK") throw new Error("a statement had failed");
  }

  #query(query: PostgresQuery): Promise<PostgresResult> {
    return this.client.query(query);
  }

  onBreak(hear: (error: Error) => void): void {
    this.client.on("error", hear);
    this.client.on("end", () => hear(new Error("the connection was ended")));
  }

  leave(): Promise<void> {
    return this.client.end();
  }

  cut(): void {
    this.client.connection?.stream?.destroy();
  }
}

/** The driver knows Buffers; a view of other bytes it would send as text. */
function asParameter(value: Parameter): unknown {
  if (value instanceof Uint8Array && !Buffer.isBuffer(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  if (Array.isArray(value)) return value.map(asParameter);
  return typeof value === "bigint" ? value.toString() : value;
}
