import { TenonError } from "../contracts/errors.ts";
import type { SqlEngine, SqlTransaction } from "../contracts/sql.ts";
import { systemWorld, type World } from "../world/index.ts";
import { type InboxStatements, inboxStatements } from "./inbox-statements.ts";

export interface InboxOptions {
  /** Whose effects are recorded. Consumers with different effects need different names, and may share a table. */
  readonly consumer: string;
  /** `tenon_inbox` when left out. */
  readonly table?: string | undefined;
  /** How long a record is kept, in milliseconds: longer than a message can be redelivered. 7 days when left out. */
  readonly keepMs?: number | undefined;
  readonly world?: World | undefined;
}

/**
 * Remembers in the caller's own database which messages have taken effect. Record and effect are in one transaction: both are committed or
 * neither, so that a message that is delivered twice takes effect once.
 */
export interface Inbox {
  readonly sql: SqlEngine;
  readonly consumer: string;
  /** Makes the table when it is not there. */
  migrate(): Promise<void>;
  /**
   * Records the message and answers `true`, or answers `false` when it is recorded already. Several messages may be recorded in one
   * transaction. Now and then it also removes some old records. `invalid` when the identity is empty or longer than 512 characters.
   */
  once(transaction: SqlTransaction, messageId: string): Promise<boolean>;
  /** Removes up to `limit` (1,000) of this consumer's records older than `keepMs`, and answers how many. */
  clean(transaction: SqlTransaction, options?: { readonly limit?: number | undefined }): Promise<number>;
}

export function inbox(sql: SqlEngine, options: InboxOptions): Inbox {
  const { consumer, table = "tenon_inbox", keepMs = 7 * 24 * 3_600_000, world = systemWorld() } = options;
  if (consumer === "" || consumer.length > 200) {
    throw new TenonError(
      "invalid",
      `An inbox's consumer has ${consumer.length} characters. Give it a name of 1 to 200.`,
      { fields: { consumer } },
    );
  }
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(table)) {
    throw new TenonError(
      "invalid",
      `An inbox's table is named "${table}". Use letters, digits and underscores, no digit first, at most 63.`,
      { fields: { table } },
    );
  }
  if (!(Number.isSafeInteger(keepMs) && keepMs > 0)) {
    throw new TenonError("invalid", `An inbox's keepMs is ${keepMs}. Give whole milliseconds above 0.`, {
      fields: { keepMs },
    });
  }
  return new SqlInbox(sql, consumer, inboxStatements(sql.dialect, table), keepMs, world);
}

/** After so many new records, twice as many old ones are removed: the table shrinks however fast it has grown. */
const recordsPerCleaning = 500;

class SqlInbox implements Inbox {
  readonly sql: SqlEngine;
  readonly consumer: string;
  readonly #statements: InboxStatements;
  readonly #keepMs: number;
  readonly #world: World;
  #recorded = 0;

  constructor(sql: SqlEngine, consumer: string, statements: InboxStatements, keepMs: number, world: World) {
    this.sql = sql;
    this.consumer = consumer;
    this.#statements = statements;
    this.#keepMs = keepMs;
    this.#world = world;
  }

  async migrate(): Promise<void> {
    await this.sql.transaction(async (transaction) => {
      for (const statement of this.#statements.create) await transaction.execute(statement);
    });
  }

  async once(transaction: SqlTransaction, messageId: string): Promise<boolean> {
    if (messageId === "" || messageId.length > 512) {
      throw new TenonError(
        "invalid",
        `A message identity has ${messageId.length} characters. Give it 1 to 512, or use its hash.`,
        {
          fields: { consumer: this.consumer, length: messageId.length },
        },
      );
    }
    const now = Math.floor(this.#world.clock.now());
    const recorded = await transaction.execute(this.#statements.record, [this.consumer, messageId, now]);
    if (recorded === 0) return false;
    if (++this.#recorded % recordsPerCleaning === 0) await this.clean(transaction, { limit: 2 * recordsPerCleaning });
    return true;
  }

  clean(transaction: SqlTransaction, options: { readonly limit?: number | undefined } = {}): Promise<number> {
    const before = Math.floor(this.#world.clock.now()) - this.#keepMs;
    return transaction.execute(this.#statements.clean, [this.consumer, before, options.limit ?? 1_000]);
  }
}
