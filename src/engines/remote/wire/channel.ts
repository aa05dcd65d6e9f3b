import { TenonError } from "../../../contracts/errors.ts";
import type { Connection } from "../../../world/world.ts";
import { Writer } from "./cursor.ts";
import { type Frame, FrameReader } from "./frames.ts";
import { greetingBytesMax } from "./protocol.ts";

export interface ChannelEvents {
  /** A `RangeError` that it throws ends the channel. */
  received(frame: Frame): void;
  /** Some bytes came, of a large frame perhaps. */
  heard(): void;
  /** The other side ended the stream, it broke, or what came was no frame. Once, and not after `destroy`. */
  broken(error: unknown): void;
  /** What is read next waits for this; `undefined`: nothing to wait for. */
  hold?(): Promise<void> | undefined;
}

/** From how many bytes on that wait to be written a sender should wait. */
const roomBytes = 1024 * 1024;

/** Frames over a connection. What is sent in one turn, or while the former bytes are being written, is one write. */
export class Channel {
  readonly #connection: Connection;
  readonly #events: ChannelEvents;
  readonly #frames = new FrameReader(greetingBytesMax);
  readonly #writer = new Writer();
  /** The largest frame that the other side takes. */
  sendBytesMax = greetingBytesMax;
  #writingBytes = 0;
  #scheduled = false;
  #ended = false;
  #waiting: (() => void)[] = [];

  constructor(connection: Connection, events: ChannelEvents) {
    this.#connection = connection;
    this.#events = events;
    void this.#read();
  }

  get ended(): boolean {
    return this.#ended;
  }

  get waitingBytes(): number {
    return this.#writer.at + this.#writingBytes;
  }

  get hasRoom(): boolean {
    return this.waitingBytes < roomBytes;
  }

  /** The largest frame that is taken from the other side. */
  set receiveBytesMax(bytes: number) {
    this.#frames.bytesMax = bytes;
  }

  /** Throws, and has sent nothing, when the body cannot be written or is too large. */
  send(kind: number, id: number, body?: (writer: Writer) => void): void {
    if (this.#ended) return;
    const writer = this.#writer;
    const start = writer.at;
    try {
      writer.u32(0).u8(kind).u32(id);
      body?.(writer);
      const length = writer.at - start - 4;
      if (length > this.sendBytesMax) throw tooLarge(length, this.sendBytesMax);
      writer.patchU32(start, length);
    } catch (error) {
      writer.at = start;
      throw error;
    }
    if (this.#scheduled || this.#writingBytes > 0) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#ended || this.#writingBytes > 0 || this.#writer.at === 0) return;
    const bytes = this.#writer.take();
    this.#writingBytes = bytes.length;
    this.#connection.write(bytes).then(
      () => {
        this.#writingBytes = 0;
        this.#flush();
        if (this.hasRoom) this.#wake();
      },
      (error: unknown) => this.#break(error),
    );
  }

  /** Resolves when little enough waits to be written, or nothing will be any more. */
  room(): Promise<void> {
    if (this.#ended || this.hasRoom) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves when everything was written, or nothing will be any more. */
  async flushed(): Promise<void> {
    while (!this.#ended && this.waitingBytes > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  async #read(): Promise<void> {
    try {
      while (!this.#ended) {
        const bytes = await this.#connection.read();
        if (bytes === undefined) throw new Error("the other side ended the connection");
        this.#events.heard();
        this.#frames.push(bytes);
        for (let frame = this.#next(); frame !== undefined; frame = this.#next()) {
          this.#events.received(frame);
          const held = this.#events.hold?.();
          if (held !== undefined) await held;
        }
      }
    } catch (error) {
      this.#break(error);
    }
  }

  #next(): Frame | undefined {
    return this.#ended ? undefined : this.#frames.next();
  }

  #break(error: unknown): void {
    if (this.#ended) return;
    this.destroy();
    this.#events.broken(error);
  }

  /** Nothing is sent or received any more. */
  destroy(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#connection.destroy();
    this.#wake();
  }
}

function tooLarge(sizeBytes: number, limitBytes: number): TenonError {
  const message = `what is sent takes ${sizeBytes} bytes, and the other side takes at most ${limitBytes} at a time; send less at once`;
  return new TenonError("invalid", message, { fields: { sizeBytes, limitBytes } });
}
