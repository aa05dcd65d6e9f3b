import { TenonError } from "../../../contracts/errors.ts";

const countMax = 256;
const bytesMax = 256 * 1024;

/** One watch of the engine for one client: reads ahead a little, and then waits until that was taken. */
export class ServedWatch<Item> {
  readonly #end = new AbortController();
  readonly #itemBytes: (item: Item) => number;
  #items: Item[] = [];
  #bytes = 0;
  #error: unknown;
  /** Who waits for items, and what waits for room: never both. */
  #wanted: (() => void) | undefined;
  #taken: (() => void) | undefined;

  constructor(open: (signal: AbortSignal) => AsyncIterable<Item>, itemBytes: (item: Item) => number) {
    this.#itemBytes = itemBytes;
    void this.#read(open(this.#end.signal));
  }

  async #read(items: AsyncIterable<Item>): Promise<void> {
    try {
      for await (const item of items) {
        this.#items.push(item);
        this.#bytes += this.#itemBytes(item);
        this.#wake();
        if (this.#items.length >= countMax || this.#bytes >= bytesMax) await this.#room();
        if (this.#end.signal.aborted) break;
      }
      this.#error = new TenonError("unavailable", "The watch has ended; begin it anew.");
    } catch (error) {
      this.#error = error;
    }
    this.#wake();
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#end.signal.aborted) resolve();
      else this.#taken = resolve;
    });
  }

  /** What has come since it was asked last, at least one item. One call at a time. */
  async next(): Promise<readonly Item[]> {
    while (this.#items.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wanted = resolve;
      });
    }
    const items = this.#items;
    this.#items = [];
    this.#bytes = 0;
    this.#taken?.();
    this.#taken = undefined;
    return items;
  }

  #wake(): void {
    const wanted = this.#wanted;
    this.#wanted = undefined;
    wanted?.();
  }

  end(): void {
    this.#end.abort();
    this.#taken?.();
    this.#taken = undefined;
  }
}
