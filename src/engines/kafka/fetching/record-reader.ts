import { type Place, unreadableAt } from "./place.ts";

/** In each byte of a whole number: whether there are more. */
const more = 0x80;

/** What stands behind a record's length, and says nothing yet. */
const attributeBytes = 1;

export interface Records {
  readonly place: Place;
  readonly records: Buffer;
}

/** Reads what records are made of. Kafka writes whole numbers seven bits to a byte, the lowest first, with the sign in the lowest bit. */
export class RecordReader {
  readonly #bytes: Buffer;
  /** What stands in errors. */
  readonly #place: Place;
  readonly #position: number;
  at: number;

  constructor({ records, place }: Records, at: number, position: number) {
    this.#bytes = records;
    this.at = at;
    this.#place = place;
    this.#position = position;
  }

  whole(): number {
    const bytes = this.#bytes;
    const first = bytes[this.at++];
    if (first === undefined) throw unreadableAt(this.#place, this.#position);
    if (first < more) return (first >>> 1) ^ -(first & 1);
    const second = bytes[this.at++];
    if (second === undefined) throw unreadableAt(this.#place, this.#position);
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
    throw unreadableAt(this.#place, this.#position);
  }

  /** The length of what comes next, which ends at `end` at the latest; -1: there is none. */
  length(end: number): number {
    const length = this.whole();
    if (length < -1 || this.at + length > end) throw unreadableAt(this.#place, this.#position);
    return length;
  }

  /** Where the record ends that begins here, which it says itself. */
  endOfRecord(): number {
    const length = this.whole();
    const end = this.at + length;
    if (length < 0 || end > this.#bytes.length) throw unreadableAt(this.#place, this.#position);
    return end;
  }
  passAttributes(): void {
    this.at += attributeBytes;
  }

  /** The bytes of what comes next, within a record that ends at `end`; `undefined`: there is none. */
  bytes(end: number): Buffer | undefined {
    const length = this.length(end);
    if (length < 0) return undefined;
    const from = this.at;
    this.at = from + length;
    return this.#bytes.subarray(from, from + length);
  }

  /** A record was read that ends at `end`; what stands there beyond what is known is passed over. */
  leaveAt(end: number): void {
    if (this.at > end) throw unreadableAt(this.#place, this.#position);
    this.at = end;
  }
}
