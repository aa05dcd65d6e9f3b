import { TenonError } from "../../contracts/errors.ts";
import type { SqlRow, SqlTransaction, SqlValue } from "../../contracts/sql.ts";
import { endsSession } from "./failures.ts";
import type { Placeholders } from "./placeholders.ts";
import type { PostgresConnection, PostgresResult } from "./pool.ts";
import { valueTypes } from "./values.ts";

/** One transaction on a connection that the pool has lent, until it has `ended`. */
export class LentTransaction implements SqlTransaction {
  readonly #connection: PostgresConnection;
  readonly #placeholders: Placeholders;
  ended = false;
  /** The session is over, and with it the transaction. */
  broken = false;

  constructor(connection: PostgresConnection, placeholders: Placeholders) {
    this.#connection = connection;
    this.#placeholders = placeholders;
  }

  async execute(sql: string, parameters: readonly SqlValue[] = []): Promise<number> {
    return (await this.#run(sql, parameters)).rowCount ?? 0;
  }

  async query(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    return (await this.#run(sql, parameters)).rows as readonly SqlRow[];
  }

  async #run(sql: string, parameters: readonly SqlValue[]): Promise<PostgresResult> {
    if (this.ended) {
      throw new TenonError(
        "closed",
        "A statement came after the end of its transaction. Await every statement before the work resolves.",
      );
    }
    const text = this.#placeholders.numbered(sql);
    try {
      return await this.#connection.query({ text, values: parameters.map(asParameter), types: valueTypes });
    } catch (error) {
      if (endsSession(error)) this.broken = true;
      throw error;
    }
  }
}

/** The driver knows Buffers; a view of other bytes it would send as text. */
function asParameter(value: SqlValue): unknown {
  if (value instanceof Uint8Array && !Buffer.isBuffer(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  return typeof value === "bigint" ? value.toString() : value;
}
