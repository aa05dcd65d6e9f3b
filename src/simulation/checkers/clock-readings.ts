/** What a wall clock said, as far as somebody looked: it may jump in both directions. */
export class ClockReadings {
  /** Each is followed by a lower one. */
  readonly #peaks: { readonly atMs: number; readonly ms: number }[] = [];
  #last: { readonly atMs: number; readonly ms: number } | undefined;

  read(atMs: number, ms: number): void {
    if (this.#last !== undefined && ms < this.#last.ms) this.#peaks.push(this.#last);
    this.#last = { atMs, ms };
  }

  /** The greatest reading between two instants, or `least` when none was greater; readings of exactly these instants count. */
  highest(fromMs: number, toMs: number, least: number): number {
    let highest = least;
    for (const { atMs, ms } of this.#peaks) if (atMs >= fromMs && atMs <= toMs) highest = Math.max(highest, ms);
    return highest;
  }

  /** The greatest of all readings. */
  get highestEver(): number {
    return Math.max(this.#last?.ms ?? Number.NEGATIVE_INFINITY, ...this.#peaks.map(({ ms }) => ms));
  }
}
