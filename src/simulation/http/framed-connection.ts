import { type Connection, NetworkError } from "../../world/world.ts";

const LENGTH_BYTES = 4;

/** Whole messages over a stream of bytes: each is its length in four bytes, the highest first, and its content. */
export class FramedConnection {
  readonly connection: Connection;
  readonly #frameBytesMax: number;
  #parts: Uint8Array[] = [];
  #sizeBytes = 0;

  /** A longer frame breaks the connection. */
  constructor(connection: Connection, frameBytesMax: number) {
    this.connection = connection;
    this.#frameBytesMax = frameBytesMax;
  }

  /** Sends the frames in one piece. */
  write(...frames: readonly Uint8Array[]): Promise<void> {
    const length = (frame: Uint8Array): Uint8Array => {
      const bytes = new Uint8Array(LENGTH_BYTES);
      new DataView(bytes.buffer).setUint32(0, frame.byteLength);
      return bytes;
    };
    return this.connection.write(Buffer.concat(frames.flatMap((frame) => [length(frame), frame])));
  }

  /** The next frame; `undefined` when the other side has ended its stream between two frames. One call at a time. */
  async read(): Promise<Uint8Array | undefined> {
    const head = await this.#take(LENGTH_BYTES);
    if (head === undefined) return undefined;
    const sizeBytes = new DataView(head.buffer, head.byteOffset).getUint32(0);
    if (sizeBytes > this.#frameBytesMax) throw this.#broken(`a message of ${sizeBytes} bytes`);
    const frame = await this.#take(sizeBytes);
    if (frame === undefined) throw this.#broken("the end of the stream within a message");
    return frame;
  }

  async #take(sizeBytes: number): Promise<Uint8Array | undefined> {
    while (this.#sizeBytes < sizeBytes) {
      const part = await this.connection.read();
      if (part === undefined && this.#sizeBytes === 0) return undefined;
      if (part === undefined) throw this.#broken("the end of the stream within a message");
      this.#parts.push(part);
      this.#sizeBytes += part.byteLength;
    }
    const all = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    const rest = all.subarray(sizeBytes);
    this.#parts = rest.byteLength > 0 ? [rest] : [];
    this.#sizeBytes = rest.byteLength;
    return all.subarray(0, sizeBytes);
  }

  #broken(what: string): NetworkError {
    this.connection.destroy();
    const { remote } = this.connection;
    return new NetworkError("broken", remote, `cannot read from ${remote.host}:${remote.port}: it sent ${what}`);
  }
}
