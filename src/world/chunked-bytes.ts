const CHUNK_BYTES = 256 * 1024;
const FIRST_CHUNK_BYTES = 1024;

/**
 * Bytes in memory that grow at the end, without ever copying what a full chunk holds. Only the first chunk is grown by
 * doubling, so that a thousand tiny files stay tiny.
 */
export class ChunkedBytes {
  #chunks: Uint8Array[] = [];
  #sizeBytes = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  append(bytes: Uint8Array): void {
    let taken = 0;
    while (taken < bytes.byteLength) {
      const within = this.#sizeBytes % CHUNK_BYTES;
      const chunk = this.#chunkFor(this.#sizeBytes, within + bytes.byteLength - taken);
      const count = Math.min(chunk.byteLength - within, bytes.byteLength - taken);
      chunk.set(bytes.subarray(taken, taken + count), within);
      taken += count;
      this.#sizeBytes += count;
    }
  }

  /** How many bytes there were from `position`, at most what `into` can hold. */
  read(position: number, into: Uint8Array): number {
    const total = Math.max(0, Math.min(into.byteLength, this.#sizeBytes - position));
    let done = 0;
    while (done < total) {
      const within = (position + done) % CHUNK_BYTES;
      const chunk = this.#chunks[Math.floor((position + done) / CHUNK_BYTES)]!;
      const count = Math.min(CHUNK_BYTES - within, total - done);
      into.set(chunk.subarray(within, within + count), done);
      done += count;
    }
    return total;
  }

  /** Writes over bytes that are there. */
  overwrite(position: number, bytes: Uint8Array): void {
    let done = 0;
    while (done < bytes.byteLength) {
      const within = (position + done) % CHUNK_BYTES;
      const chunk = this.#chunks[Math.floor((position + done) / CHUNK_BYTES)]!;
      const count = Math.min(CHUNK_BYTES - within, bytes.byteLength - done);
      chunk.set(bytes.subarray(done, done + count), within);
      done += count;
    }
  }

  /** A copy of the bytes from `start` up to `end`. */
  slice(start = 0, end = this.#sizeBytes): Uint8Array {
    const copy = new Uint8Array(Math.max(0, Math.min(end, this.#sizeBytes) - start));
    this.read(start, copy);
    return copy;
  }

  /** Keeps the first `sizeBytes` bytes; does nothing when there are fewer. */
  truncate(sizeBytes: number): void {
    if (sizeBytes >= this.#sizeBytes) return;
    this.#sizeBytes = sizeBytes;
    this.#chunks.length = Math.ceil(sizeBytes / CHUNK_BYTES);
  }

  #chunkFor(position: number, neededBytes: number): Uint8Array {
    const index = Math.floor(position / CHUNK_BYTES);
    const present = this.#chunks[index];
    if (present !== undefined && (present.byteLength === CHUNK_BYTES || neededBytes <= present.byteLength))
      return present;
    const grown = allocate(index === 0 ? neededBytes : CHUNK_BYTES);
    if (present !== undefined) grown.set(present);
    this.#chunks[index] = grown;
    return grown;
  }
}

/** Never read beyond the size, so the bytes need no zeroing. */
function allocate(neededBytes: number): Uint8Array {
  let sizeBytes = FIRST_CHUNK_BYTES;
  while (sizeBytes < neededBytes && sizeBytes < CHUNK_BYTES) sizeBytes *= 2;
  return Buffer.allocUnsafeSlow(sizeBytes);
}
