export interface BatchingOptions {
  /** Waited for before each batch is taken, to let more arrive where a batch is expensive. */
  readonly gather?: (() => Promise<void>) | undefined;
  /** Batches do not wait for each other: one holds what was added in the same turn. */
  readonly overlap?: boolean | undefined;
}

/**
 * Runs what arrives in batches, one at a time: what is added while a batch is under way forms the next one. Everybody in a
 * batch shares its promise; a result of its own is left in the item.
 */
export class Batching<Item> {
  readonly #run: (items: readonly Item[]) => Promise<void>;
  readonly #options: BatchingOptions;
  #items: Item[] = [];
  #gathering: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(run: (items: readonly Item[]) => Promise<void>, options: BatchingOptions = {}) {
    this.#run = run;
    this.#options = options;
  }

  /** Settles as the item's batch does. */
  add(item: Item): Promise<void> {
    this.#items.push(item);
    if (this.#gathering === undefined) {
      this.#gathering = this.#last.then(() => this.#runGathered());
      if (!this.#options.overlap) this.#last = this.#gathering.catch(() => {});
    }
    return this.#gathering;
  }

  async #runGathered(): Promise<void> {
    await this.#options.gather?.();
    const items = this.#items;
    this.#items = [];
    this.#gathering = undefined;
    await this.#run(items);
  }
}
