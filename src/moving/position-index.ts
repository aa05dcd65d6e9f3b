const stride = 1_000;

/** Where copies of a partition's messages stand, for one in a thousand of them: near enough to begin from. */
export class PositionIndex {
  readonly #places: { readonly position: bigint; readonly copy: bigint }[] = [];
  #count = 0;

  /** In the order of the positions. */
  note(position: bigint, copy: bigint | undefined): void {
    if (copy !== undefined && this.#count % stride === 0) this.#places.push({ position, copy });
    this.#count += 1;
  }

  /** The copy of a message at or before the position, as near as is known. */
  atOrBefore(position: bigint): bigint | undefined {
    let low = 0;
    let high = this.#places.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#places[middle]!.position <= position) low = middle + 1;
      else high = middle;
    }
    return this.#places[low - 1]?.copy;
  }
}
