import { ByteReader, ByteWriter } from "../../shared/binary.ts";
import type { JetStream } from "../jet-stream.ts";
import type { Streams } from "../streams.ts";

const format = 1;

interface Mark {
  /** Deletions up to this version may be forgotten. */
  readonly version: number;
  readonly roundAt: number;
  readonly sequence: number;
}

/** What is kept of the key-values as a whole: up to which version deletions may be forgotten, and when all keys were looked through. */
export class ForgottenMark {
  readonly #jetStream: JetStream;
  readonly #stream: string;
  readonly #subject: string;

  constructor(jetStream: JetStream, streams: Streams) {
    this.#jetStream = jetStream;
    this.#stream = streams.state;
    this.#subject = `${streams.prefix}.s.k`;
  }

  async version(): Promise<number> {
    return (await this.#read()).version;
  }

  async raise(version: number): Promise<void> {
    for (;;) {
      const mark = await this.#read();
      if (mark.version >= version || (await this.#write({ ...mark, version }))) return;
    }
  }

  /** `false` when there was a round not so long ago, or another one begins now. */
  async beginRound(now: number, everyMs: number): Promise<boolean> {
    const mark = await this.#read();
    return now - mark.roundAt >= everyMs && this.#write({ ...mark, roundAt: now });
  }

  async #read(): Promise<Mark> {
    const stored = await this.#jetStream.last("reading what is forgotten", this.#stream, this.#subject);
    if (stored === undefined) return { version: 0, roundAt: 0, sequence: 0 };
    const reader = new ByteReader(stored.data, "the mark of key-values");
    if (reader.u8() !== format) throw reader.corrupt();
    return { version: reader.whole(), roundAt: reader.f64(), sequence: stored.sequence };
  }

  async #write({ version, roundAt, sequence }: Mark): Promise<boolean> {
    const bytes = new ByteWriter().u8(format).whole(version).f64(roundAt).done();
    return (await this.#jetStream.put("noting what is forgotten", this.#subject, bytes, sequence)) !== undefined;
  }
}
