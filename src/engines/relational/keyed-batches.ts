/** Something to be done under the lock of one key. */
export interface Keyed<Operation> {
  readonly key: string;
  readonly operation: Operation;
}

interface Waiting<Operation> extends Keyed<Operation> {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What is carried out together at most, so that it keeps nobody waiting for long. */
const countMax = 64;
/** At most so many at once. */
const batchesMax = 4;

/**
 * Operations on keys, those of one key in the order of the calls: what is asked for in the same turn, or while its key is worked on, is carried out together.
 */
export class KeyedBatches<Operation> {
  readonly #carryOut: (taken: readonly Keyed<Operation>[]) => Promise<readonly unknown[]>;
  readonly #queue = new Map<string, Waiting<Operation>[]>();
  readonly #underWay = new Set<string>();
  #batches = 0;
  #idle: PromiseWithResolvers<void> | undefined;
  #scheduled = false;

  /** `carryOut` locks the keys in one order, so that nobody waits in a circle, and answers for each operation. */
  constructor(carryOut: (taken: readonly Keyed<Operation>[]) => Promise<readonly unknown[]>) {
    this.#carryOut = carryOut;
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

  /** When nothing is under way any more. */
  async idle(): Promise<void> {
    if (this.#batches === 0 && this.#queue.size === 0) return;
    this.#idle ??= Promise.withResolvers();
    await this.#idle.promise;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      while (this.#batches < batchesMax) {
        const taken = this.#take();
        if (taken.length === 0) return;
        void this.#answer(taken);
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

  #rest(): void {
    this.#idle?.resolve();
    this.#idle = undefined;
  }

  async #answer(taken: readonly Waiting<Operation>[]): Promise<void> {
    this.#batches += 1;
    try {
      const answers = await this.#carryOut(taken);
      for (let index = 0; index < taken.length; index++) taken[index]!.resolve(answers[index]);
    } catch (error) {
      for (const { reject } of taken) reject(error);
    } finally {
      this.#batches -= 1;
      for (const { key } of taken) this.#underWay.delete(key);
      if (this.#queue.size > 0) this.#schedule();
      else if (this.#batches === 0) this.#rest();
    }
  }
}
