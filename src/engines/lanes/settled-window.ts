/**
 * Which offsets of a lane are settled: all below `low`, and some above it. In-order settling, the usual case, costs no
 * memory; settling out of order costs one bit per offset of the window, given back when the gaps have closed.
 */
export class SettledWindow {
  low: number;
  /** How many offsets above `low` are settled. */
  aboveCount = 0;
  /** A ring of bits indexed by offset modulo its size; its size is a power of two. */
  #bits: Uint8Array | undefined;

  constructor(low: number) {
    this.low = low;
  }

  has(offset: number): boolean {
    if (offset < this.low) return true;
    const bits = this.#bits;
    if (bits === undefined || offset - this.low >= bits.length * 8) return false;
    const bit = offset % (bits.length * 8);
    return (bits[bit >>> 3]! & (1 << (bit & 7))) !== 0;
  }

  /** Answers whether it was news. */
  add(offset: number): boolean {
    if (offset === this.low && this.aboveCount === 0) {
      this.low += 1;
      return true;
    }
    if (this.has(offset)) return false;
    const bits = this.#roomFor(offset);
    const bit = offset % (bits.length * 8);
    bits[bit >>> 3]! |= 1 << (bit & 7);
    this.aboveCount += 1;
    if (offset === this.low) this.#advance(bits);
    return true;
  }

  /** Everything below `end` is settled. */
  addBelow(end: number): void {
    if (this.aboveCount === 0) this.low = Math.max(this.low, end);
    else for (let offset = this.low; offset < end; offset++) this.add(offset);
  }

  #advance(bits: Uint8Array): void {
    const mask = bits.length * 8 - 1;
    while (this.aboveCount > 0) {
      const bit = this.low % (mask + 1);
      const byte = bits[bit >>> 3]!;
      if ((byte & (1 << (bit & 7))) === 0) return;
      bits[bit >>> 3] = byte & ~(1 << (bit & 7));
      this.low += 1;
      this.aboveCount -= 1;
    }
    this.#bits = undefined;
  }

  #roomFor(offset: number): Uint8Array {
    const needed = offset - this.low + 1;
    const old = this.#bits;
    if (old !== undefined && needed <= old.length * 8) return old;
    let size = old === undefined ? 128 : old.length * 2;
    while (size * 8 < needed) size *= 2;
    const bits = new Uint8Array(size);
    if (old !== undefined) {
      const end = this.low + old.length * 8;
      for (let o = this.low; o < end; o++) {
        if (this.has(o)) bits[(o % (size * 8)) >>> 3]! |= 1 << (o & 7);
      }
    }
    this.#bits = bits;
    return bits;
  }

  /** One bit per offset, at the offset modulo their number; `undefined` while nothing above `low` is settled. */
  get bits(): Uint8Array | undefined {
    return this.#bits;
  }

  /** The settled offsets above `low`, ascending. */
  *above(): Generator<number> {
    let left = this.aboveCount;
    for (let offset = this.low; left > 0; offset++) {
      if (this.has(offset)) {
        left -= 1;
        yield offset;
      }
    }
  }
}
