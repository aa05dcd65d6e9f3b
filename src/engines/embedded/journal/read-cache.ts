/** Byte buffers by number, the least recently used ones forgotten when together they have more than `bytesMax`. */
export class ReadCache {
  readonly #bytesMax: number;
  readonly #entries = new Map<number, Buffer>();
  #bytes = 0;
  #lastKey = -1;
  #last: Buffer | undefined;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get(key: number): Buffer | undefined {
    // A sequential reader asks for one key thousands of times; only a change of keys costs a reordering.
    if (key === this.#lastKey) return this.#last;
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    this.#lastKey = key;
    this.#last = entry;
    return entry;
  }

  set(key: number, entry: Buffer): void {
    this.#delete(key);
    this.#entries.set(key, entry);
    this.#bytes += entry.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#delete(oldest);
    }
  }

  /** Forgets every key in [from, to). */
  deleteRange(from: number, to: number): void {
    for (const key of this.#entries.keys()) if (key >= from && key < to) this.#delete(key);
  }

  #delete(key: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#bytes -= entry.length;
    if (key === this.#lastKey) {
      this.#lastKey = -1;
      this.#last = undefined;
    }
  }
}
