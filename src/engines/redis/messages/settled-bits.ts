/** What of a lane was settled before it was granted: all below `low`, and the positions above it whose bits are set. */
export class SettledBits {
  /** Nothing from here on is among them. */
  readonly end: number;
  readonly #base: number;
  readonly #bits: Buffer;

  /** `base`: the position of the first bit, as Redis numbers them; negative when there are none. */
  constructor(base: number, bits: Buffer) {
    this.#base = base;
    this.#bits = base < 0 ? Buffer.alloc(0) : bits;
    this.end = base + 8 * this.#bits.length;
  }

  has(position: number): boolean {
    const bit = position - this.#base;
    const byte = this.#bits[Math.floor(bit / 8)];
    return byte !== undefined && (byte & (128 >>> (bit % 8))) !== 0;
  }
}
