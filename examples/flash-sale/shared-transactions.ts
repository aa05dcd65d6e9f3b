import type { SqlEngine, SqlTransaction, SqlValue } from "tenon/contracts";
import type { World } from "tenon/world";
import { Batching } from "./batching.ts";

/** How long work is gathered into one transaction: each one costs a synchronous write to the disk. */
const gatherMs = 100;

type Operation = (transaction: SqlTransaction, items: readonly unknown[]) => Promise<void>;

interface Work {
  readonly operation: Operation;
  readonly item: unknown;
  failure: unknown;
}

/** Lets all that wants to write to the database at about the same time do so in one transaction. */
export class SharedTransactions {
  readonly #sql: SqlEngine;
  readonly #batching: Batching<Work>;

  constructor(sql: SqlEngine, world: World) {
    this.#sql = sql;
    this.#batching = new Batching((works) => this.#runAll(works), { gather: () => world.timers.sleep(gatherMs) });
  }

  /**
   * Makes an operation on many items at once; the function takes one item, and resolves when it is committed. After a failure
   * an item may be seen again, alone.
   */
  operation<Item>(
    run: (transaction: SqlTransaction, items: readonly Item[]) => Promise<void>,
  ): (item: Item) => Promise<void> {
    return async (item) => {
      const work: Work = { operation: run as Operation, item, failure: undefined };
      await this.#batching.add(work);
      if (work.failure !== undefined) throw work.failure;
    };
  }

  async #runAll(works: readonly Work[]): Promise<void> {
    try {
      await this.#sql.transaction(async (transaction) => {
        for (const [operation, same] of Map.groupBy(works, (work) => work.operation)) {
          await operation(
            transaction,
            same.map((work) => work.item),
          );
        }
      });
    } catch (error) {
      // One bad item must not hold back those that happened to share its transaction.
      if (works.length === 1) works[0]!.failure = error;
      else for (const work of works) await this.#runAll([work]);
    }
  }
}

/** What is written in groups needs few different statements, so that they stay prepared. */
const groupSizes = [64, 8, 1] as const;

/** `head` is `INSERT INTO … VALUES`, `tail` what follows the rows. A row at a time would cost several times as much. */
export async function insertRows(
  transaction: SqlTransaction,
  head: string,
  tail: string,
  rows: readonly (readonly SqlValue[])[],
): Promise<void> {
  for (const some of inGroups(rows)) {
    const places = some.map((row) => `(${row.map(() => "?").join(", ")})`).join(", ");
    await transaction.execute(`${head} ${places} ${tail}`, some.flat());
  }
}

/** Of few different sizes. */
export function* inGroups<Item>(items: readonly Item[]): Generator<readonly Item[]> {
  let done = 0;
  for (const size of groupSizes) {
    for (; items.length - done >= size; done += size) yield items.slice(done, done + size);
  }
}
