import { frameHeadBytes } from "./protocol.ts";

export interface Frame {
  readonly kind: number;
  readonly id: number;
  readonly body: Buffer;
}

/** Cuts a stream of bytes, as they come, into frames. */
export class FrameReader {
  /** The largest frame that is taken; it may grow once the peer is known. */
  bytesMax: number;
  #chunks: Buffer[] = [];
  #sizeBytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#chunks.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
    this.#sizeBytes += bytes.length;
  }

  /** The next frame, if it is here as a whole. A `RangeError` when it cannot be one. */
  next(): Frame | undefined {
    if (this.#sizeBytes < 4) return undefined;
    const length = this.#gather(4).readUInt32LE(0);
    if (length < frameHeadBytes || length > this.bytesMax) {
      throw new RangeError(`a frame of ${length} bytes is not within ${frameHeadBytes} to ${this.bytesMax}`);
    }
    if (this.#sizeBytes < 4 + length) return undefined;
    const frame = this.#gather(4 + length);
    this.#drop(4 + length);
    return { kind: frame[4]!, id: frame.readUInt32LE(5), body: frame.subarray(4 + frameHeadBytes, 4 + length) };
  }

  /** Makes the first chunk hold at least so many bytes, which have to be here. */
  #gather(count: number): Buffer {
    const first = this.#chunks[0]!;
    if (first.length >= count) return first;
    const gathered: Buffer[] = [];
    let sizeBytes = 0;
    while (sizeBytes < count) {
      const chunk = this.#chunks[gathered.length]!;
      gathered.push(chunk);
      sizeBytes += chunk.length;
    }
    const whole = Buffer.allocUnsafeSlow(sizeBytes);
    let at = 0;
    for (const chunk of gathered) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    this.#chunks.splice(0, gathered.length, whole);
    return whole;
  }

  #drop(count: number): void {
    const first = this.#chunks[0]!;
    this.#sizeBytes -= count;
    if (first.length === count) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(count);
  }
}
