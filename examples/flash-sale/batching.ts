/**
 * Runs what arrives in batches, one at a time: what is added while a batch is under way forms the next one. Everybody in a
 * batch shares its promise; a result of its own is left in the item.
 */
export class Batching<Item> {
  readonly #run: (items: readonly Item[]) => Promise<void>;
  readonly #gather: (() => Promise<void>) | undefined;
  #items: Item[] = [];
  #gathering: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();

  /** `gather` is waited for before each batch is taken, to let more arrive where a batch is expensive. */
  constructor(run: (items: readonly Item[]) => Promise<void>, gather?: () => Promise<void>) {
    this.#run = run;
    this.#gather = gather;
  }

  /** Settles as the item's batch does. */
  add(item: Item): Promise<void> {
    this.#items.push(item);
    if (this.#gathering === undefined) {
      this.#gathering = this.#last.then(() => this.#runGathered());
      this.#last = this.#gathering.catch(() => {});
    }
    return this.#gathering;
  }

  async #runGathered(): Promise<void> {
    await this.#gather?.();
    const items = this.#items;
    this.#items = [];
    this.#gathering = undefined;
    await this.#run(items);
  }
}
