import type { DatabaseConnection } from "./connection.ts";
import type { Transaction } from "./transaction.ts";

/** Something to be done under the lock of one key. */
export interface Keyed<Operation> {
  readonly key: string;
  readonly operation: Operation;
}

interface Waiting<Operation> extends Keyed<Operation> {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What one transaction carries out at most, so that it keeps nobody waiting for long. */
const countMax = 64;
/** At most so many transactions at once. */
const transactionsMax = 4;

/**
 * Operations on keys, those of one key in the order of the calls: what is asked for in the same turn, or while a transaction is at work on its key, goes with one
 * transaction.
 */
export class KeyedBatches<Operation> {
  readonly #connection: DatabaseConnection;
  readonly #what: string;
  readonly #operate: (transaction: Transaction, taken: readonly Keyed<Operation>[]) => Promise<readonly unknown[]>;
  readonly #queue = new Map<string, Waiting<Operation>[]>();
  readonly #underWay = new Set<string>();
  #transactions = 0;
  #scheduled = false;

  /** `operate` locks the keys in one order, so that nobody waits in a circle, and answers for each operation. */
  constructor(
    connection: DatabaseConnection,
    what: string,
    operate: (transaction: Transaction, taken: readonly Keyed<Operation>[]) => Promise<readonly unknown[]>,
  ) {
    this.#connection = connection;
    this.#what = what;
    this.#operate = operate;
  }

  run(key: string, operation: Operation): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting<Operation> = { key, operation, resolve, reject };
      const queue = this.#queue.get(key);
      if (queue === undefined) this.#queue.set(key, [waiting]);
      else queue.push(waiting);
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      while (this.#transactions < transactionsMax) {
        const taken = this.#take();
        if (taken.length === 0) return;
        void this.#carryOut(taken);
      }
    });
  }

  #take(): Waiting<Operation>[] {
    const taken: Waiting<Operation>[] = [];
    for (const [key, queue] of this.#queue) {
      if (this.#underWay.has(key)) continue;
      taken.push(...queue.splice(0, countMax - taken.length));
      this.#underWay.add(key);
      if (queue.length === 0) this.#queue.delete(key);
      if (taken.length === countMax) break;
    }
    return taken;
  }

  async #carryOut(taken: readonly Waiting<Operation>[]): Promise<void> {
    this.#transactions += 1;
    try {
      const answers = await this.#connection.transaction(this.#what, (transaction) =>
        this.#operate(transaction, taken),
      );
      for (const [index, answer] of answers.entries()) taken[index]!.resolve(answer);
    } catch (error) {
      for (const { reject } of taken) reject(error);
    } finally {
      this.#transactions -= 1;
      for (const { key } of taken) this.#underWay.delete(key);
      if (this.#queue.size > 0) this.#schedule();
    }
  }
}
