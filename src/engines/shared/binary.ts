import { TenonError } from "../../contracts/errors.ts";

/** Writes small values into bytes that grow: whole numbers take as many bytes as they need, seven bits each. */
export class ByteWriter {
  #bytes = Buffer.allocUnsafe(256);
  #at = 0;

  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.#at++] = value;
    return this;
  }

  /** A whole number from 0 to 2^53 - 1. */
  whole(value: number): this {
    this.#room(8);
    let rest = value;
    while (rest >= 128) {
      this.#bytes[this.#at++] = (rest % 128) | 128;
      rest = Math.floor(rest / 128);
    }
    this.#bytes[this.#at++] = rest;
    return this;
  }

  f64(value: number): this {
    this.#room(8);
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
    return this;
  }

  bytes(value: Uint8Array): this {
    this.whole(value.length);
    this.#room(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
    return this;
  }

  text(value: string): this {
    const sizeBytes = Buffer.byteLength(value);
    this.whole(sizeBytes);
    this.#room(sizeBytes);
    this.#at += this.#bytes.write(value, this.#at, sizeBytes);
    return this;
  }

  /** What was written; the writer is done. */
  done(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + bytes));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

/** Reads what `ByteWriter` wrote. Anything else is `corrupt`; `what` says where it stood. */
export class ByteReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  u8(): number {
    const value = this.#bytes[this.#at++];
    if (value === undefined) throw this.corrupt();
    return value;
  }

  whole(): number {
    let value = 0;
    for (let factor = 1; factor <= 2 ** 49; factor *= 128) {
      const byte = this.u8();
      value += (byte & 127) * factor;
      if (byte < 128) {
        if (value > Number.MAX_SAFE_INTEGER) throw this.corrupt();
        return value;
      }
    }
    throw this.corrupt();
  }

  f64(): number {
    if (this.#at + 8 > this.#bytes.length) throw this.corrupt();
    const value = this.#bytes.readDoubleLE(this.#at);
    this.#at += 8;
    return value;
  }

  bytes(): Buffer {
    const length = this.whole();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw this.corrupt();
    const value = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return value;
  }

  text(): string {
    return this.bytes().toString("utf8");
  }

  /** All that was not read yet. */
  rest(): Buffer {
    const value = this.#bytes.subarray(this.#at);
    this.#at = this.#bytes.length;
    return value;
  }

  /** Throws when something is left. */
  end(): void {
    if (this.#at !== this.#bytes.length) throw this.corrupt();
  }

  corrupt(): TenonError {
    const text = `${this.#what} is not what was written; something else writes under this engine's names, or another version`;
    return new TenonError("corrupt", text);
  }
}
