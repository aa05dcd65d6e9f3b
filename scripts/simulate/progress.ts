import type { WriteStream } from "node:tty";
import type { Tally } from "./tally.ts";

const TERMINAL_EVERY_MS = 200;
const LOG_EVERY_MS = 10_000;

/** Shows how far a campaign is: one line that changes on a terminal, a line now and then elsewhere. */
export class Progress {
  readonly #tally: Tally;
  readonly #stream: WriteStream;
  readonly #timer: NodeJS.Timeout;

  constructor(tally: Tally, stream: WriteStream) {
    this.#tally = tally;
    this.#stream = stream;
    this.#timer = setInterval(() => this.#show(), stream.isTTY ? TERMINAL_EVERY_MS : LOG_EVERY_MS);
  }

  /** Takes the line away, so that something else can be written. */
  clear(): void {
    if (this.#stream.isTTY) this.#stream.write("\r\x1b[K");
  }

  end(): void {
    clearInterval(this.#timer);
    this.clear();
  }

  #show(): void {
    const line = this.#tally.toString();
    this.clear();
    this.#stream.write(this.#stream.isTTY ? line.slice(0, this.#stream.columns - 1) : `${line}\n`);
  }
}
