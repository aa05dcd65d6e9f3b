/**
 * Reading and writing of frames. Little endian. Every number of the contracts travels as a double, so that a wrong one (a fraction, NaN) reaches the engine, which
 * refuses it.
 */

const longTextBytes = 64;
/** Text that is not well-formed Unicode travels as UTF-16, so that it reaches the engine as it is, which refuses it. */
const utf16Flag = 0x8000_0000;

/** Grows as it is written. What was taken belongs to whoever took it. */
export class Writer {
  #buffer: Buffer;
  at = 0;

  constructor(sizeBytes = 1024) {
    this.#buffer = Buffer.allocUnsafeSlow(sizeBytes);
  }

  #room(count: number): void {
    const needed = this.at + count;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    larger.set(this.#buffer.subarray(0, this.at));
    this.#buffer = larger;
  }

  u8(value: number): this {
    this.#room(1);
    this.#buffer[this.at] = value;
    this.at += 1;
    return this;
  }

  u32(value: number): this {
    this.#room(4);
    this.at = this.#buffer.writeUInt32LE(value, this.at);
    return this;
  }

  f64(value: number): this {
    this.#room(8);
    this.at = this.#buffer.writeDoubleLE(value, this.at);
    return this;
  }

  /** A `RangeError` when it does not fit. */
  i64(value: bigint): this {
    this.#room(8);
    this.at = this.#buffer.writeBigInt64LE(value, this.at);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.u32(value.length);
    this.#room(value.length);
    this.#buffer.set(value, this.at);
    this.at += value.length;
    return this;
  }

  text(value: string): this {
    if (!value.isWellFormed()) return this.#utf16(value);
    // At most three bytes for a unit, so there is room for whatever it takes.
    const bytes = value.length * 3 > longTextBytes ? Buffer.byteLength(value) : value.length * 3;
    this.#room(4 + bytes);
    const written = this.#buffer.write(value, this.at + 4, "utf8");
    this.at = this.#buffer.writeUInt32LE(written, this.at) + written;
    return this;
  }

  #utf16(value: string): this {
    this.#room(4 + value.length * 2);
    this.at = this.#buffer.writeUInt32LE(utf16Flag + value.length * 2, this.at);
    this.at += this.#buffer.write(value, this.at, "utf16le");
    return this;
  }

  /** Writes over what stands at `at`. */
  patchU32(at: number, value: number): void {
    this.#buffer.writeUInt32LE(value, at);
  }

  take(): Uint8Array {
    const taken = this.#buffer.subarray(0, this.at);
    this.#buffer = Buffer.allocUnsafeSlow(1024);
    this.at = 0;
    return taken;
  }
}

/** Reads what `Writer` wrote. Reading beyond the end throws a `RangeError`. */
export class Reader {
  readonly #buffer: Buffer;
  at: number;

  constructor(buffer: Buffer, at = 0) {
    this.#buffer = buffer;
    this.at = at;
  }

  get left(): number {
    return this.#buffer.length - this.at;
  }

  u8(): number {
    const value = this.#buffer.readUInt8(this.at);
    this.at += 1;
    return value;
  }

  u32(): number {
    const value = this.#buffer.readUInt32LE(this.at);
    this.at += 4;
    return value;
  }

  f64(): number {
    const value = this.#buffer.readDoubleLE(this.at);
    this.at += 8;
    return value;
  }

  i64(): bigint {
    const value = this.#buffer.readBigInt64LE(this.at);
    this.at += 8;
    return value;
  }

  /** How many items follow, each of at least one byte: no more than there are bytes. */
  count(): number {
    const count = this.u32();
    if (count > this.left) throw new RangeError(`${count} items in ${this.left} bytes`);
    return count;
  }

  /** A copy: it neither keeps the frame in memory nor changes with anything. */
  bytes(): Uint8Array {
    const view = this.#view(this.u32());
    const copy = new Uint8Array(view.length);
    copy.set(view);
    return copy;
  }

  text(): string {
    const length = this.u32();
    if (length >= utf16Flag) return this.#view(length - utf16Flag).toString("utf16le");
    return this.#view(length).toString("utf8");
  }

  #view(length: number): Buffer {
    if (length > this.left) throw new RangeError(`${length} bytes at ${this.at}, and ${this.left} are left`);
    const view = this.#buffer.subarray(this.at, this.at + length);
    this.at += length;
    return view;
  }
}
