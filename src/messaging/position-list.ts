import type { Positions, Stored } from "../contracts/messages.ts";

/**
 * Positions as they come. In an array each would be an object, made when its message is settled and read when the commit is written, by when it is out of the
 * processor's caches.
 */
export class PositionList {
  #positions: BigUint64Array;
  #length = 0;

  /** `capacity`: how many there will probably be. */
  constructor(capacity = 0) {
    this.#positions = new BigUint64Array(Math.max(8, capacity));
  }

  get length(): number {
    return this.#length;
  }

  /** Read here: what goes straight from one array of 64-bit numbers to another is never an object. */
  add(message: Pick<Stored, "position">): void {
    if (this.#length === this.#positions.length) this.#grow(this.#length + 1);
    this.#positions[this.#length] = message.position;
    this.#length += 1;
  }

  addAll(positions: Positions): void {
    const length = this.#length + positions.length;
    if (length > this.#positions.length) this.#grow(length);
    this.#positions.set(positions, this.#length);
    this.#length = length;
  }

  /** Those that are there now; what is added later does not change it. */
  get positions(): BigUint64Array {
    return this.#positions.subarray(0, this.#length);
  }

  #grow(length: number): void {
    const grown = new BigUint64Array(Math.max(length, 2 * this.#length));
    grown.set(this.positions);
    this.#positions = grown;
  }
}
