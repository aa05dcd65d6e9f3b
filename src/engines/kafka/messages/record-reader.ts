import { unreadableAt } from "./record-batch.ts";

/** In each byte of a whole number: whether there are more. */
const more = 0x80;

/** Reads what records are made of. Kafka writes whole numbers seven bits to a byte, the lowest first, with the sign in the lowest bit. */
export class RecordReader {
  readonly #bytes: Buffer;
  /** The position that stands in errors. */
  readonly #position: number;
  at: number;

  constructor(bytes: Buffer, at: number, position: number) {
    this.#bytes = bytes;
    this.at = at;
    this.#position = position;
  }

  whole(): number {
    const bytes = this.#bytes;
    const first = bytes[this.at++];
    if (first === undefined) throw unreadableAt(this.#position);
    if (first < more) return (first >>> 1) ^ -(first & 1);
    const second = bytes[this.at++];
    if (second === undefined) throw unreadableAt(this.#position);
    const both = (first & 0x7f) | ((second & 0x7f) << 7);
    return second < more ? (both >>> 1) ^ -(both & 1) : this.#large(both);
  }

  /** Its first two bytes have been read. Up to 64 bits, of which what is beyond 2^53 is not exact. */
  #large(begun: number): number {
    let value = begun;
    for (let unit = 2 ** 14; unit <= 2 ** 63; unit *= 128) {
      const byte = this.#bytes[this.at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * unit;
      if (byte < more) return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    }
    throw unreadableAt(this.#position);
  }

  /** The length of what comes next, which ends at `end` at the latest; -1: there is none. */
  length(end: number): number {
    const length = this.whole();
    if (length < -1 || this.at + length > end) throw unreadableAt(this.#position);
    return length;
  }

  /** Where the record ends that begins here, which it says itself. */
  endOfRecord(): number {
    const length = this.whole();
    const end = this.at + length;
    if (length < 0 || end > this.#bytes.length) throw unreadableAt(this.#position);
    return end;
  }
}
