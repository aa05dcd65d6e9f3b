import { utf8Length, writeUtf8 } from "../shared/utf8.ts";

/**
 * Reading and writing of the journal's record payloads. Little endian; whole numbers that may exceed 32 bits are stored as
 * doubles, exact up to 2^53.
 */

export class Writer {
  readonly buffer: Buffer;
  at: number;

  constructor(buffer: Buffer, at = 0) {
    this.buffer = buffer;
    this.at = at;
  }

  u8(value: number): this {
    this.buffer[this.at] = value;
    this.at += 1;
    return this;
  }

  u16(value: number): this {
    this.at = this.buffer.writeUInt16LE(value, this.at);
    return this;
  }

  u32(value: number): this {
    this.at = this.buffer.writeUInt32LE(value, this.at);
    return this;
  }

  f64(value: number): this {
    this.at = this.buffer.writeDoubleLE(value, this.at);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.buffer.set(value, this.at);
    this.at += value.length;
    return this;
  }

  /** A string of up to 65,535 bytes behind its length. */
  string(value: string): this {
    const length = utf8Length(value);
    this.u16(length);
    this.at = writeUtf8(this.buffer, this.at, value, length);
    return this;
  }
}

/** The bytes that `Writer.string` takes. */
export function stringBytes(value: string): number {
  return 2 + utf8Length(value);
}

/** Reads what `Writer` wrote. Reading beyond the end throws a `RangeError`, which callers report as corruption. */
export class Reader {
  readonly buffer: Buffer;
  at: number;

  constructor(buffer: Buffer, at = 0) {
    this.buffer = buffer;
    this.at = at;
  }

  get done(): boolean {
    return this.at >= this.buffer.length;
  }

  u8(): number {
    const value = this.buffer.readUInt8(this.at);
    this.at += 1;
    return value;
  }

  u16(): number {
    const value = this.buffer.readUInt16LE(this.at);
    this.at += 2;
    return value;
  }

  u32(): number {
    const value = this.buffer.readUInt32LE(this.at);
    this.at += 4;
    return value;
  }

  f64(): number {
    const value = this.buffer.readDoubleLE(this.at);
    this.at += 8;
    return value;
  }

  bytes(length: number): Buffer {
    const end = this.at + length;
    if (end > this.buffer.length)
      throw new RangeError(`${length} bytes at ${this.at} reach beyond ${this.buffer.length}`);
    const value = this.buffer.subarray(this.at, end);
    this.at = end;
    return value;
  }

  string(): string {
    return this.bytes(this.u16()).toString("utf8");
  }
}
