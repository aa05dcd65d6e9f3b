import type { JetStream } from "./jet-stream.ts";
import type { Streams } from "./streams.ts";

export interface Value {
  readonly bytes: Buffer;
  /** What a change of it is conditional on. */
  readonly revision: number;
}

/** Topics, groups, lanes, logs, writers and readers as values, each changed only if it is as it was read. Their revisions come from one counter for all of them. */
export class StateStore {
  readonly #jetStream: JetStream;
  readonly #streams: Streams;

  constructor(jetStream: JetStream, streams: Streams) {
    this.#jetStream = jetStream;
    this.#streams = streams;
  }

  async read(what: string, name: string): Promise<Value | undefined> {
    const stored = await this.#jetStream.last(what, this.#streams.state, this.#subject(name));
    return stored && { bytes: stored.data, revision: stored.sequence };
  }

  /** `undefined` when the value is not of this revision any more (0: it is not there). */
  write(what: string, name: string, bytes: Buffer, revision: number): Promise<number | undefined> {
    return this.#jetStream.put(what, this.#subject(name), bytes, revision);
  }

  /** Removes values by name (wildcards allowed), only those below a revision when that is given. */
  remove(what: string, name: string, below?: number): Promise<void> {
    return this.#jetStream.purge(what, this.#streams.state, this.#subject(name), below);
  }

  async names(what: string, filter: string): Promise<readonly string[]> {
    const subjects = await this.#jetStream.subjects(what, this.#streams.state, this.#subject(filter));
    return subjects.map((subject) => subject.slice(this.#streams.prefix.length + 3));
  }

  /** Greater than every one before it, and than every revision there is. */
  async number(): Promise<number> {
    return (await this.#jetStream.put("taking a number", this.#subject("n"), Buffer.alloc(0)))!;
  }

  #subject(name: string): string {
    return `${this.#streams.prefix}.s.${name}`;
  }
}

export const valueNames = {
  group: (topic: number, group: number) => `g.${topic}.${group}`,
  lane: (topic: number, group: number, partition: number) => `l.${topic}.${group}.${partition}`,
  account: (topic: number) => `a.${topic}.0`,
  partition: (topic: number, partition: number) => `p.${topic}.${partition}`,
  writer: (log: number, writer: string) => `w.${log}.${encoded(writer)}`,
  writerMark: (log: number, partition: number, writer: string) => `m.${log}.${partition}.${encoded(writer)}`,
  reader: (log: number, reader: string, partition: number | "*") => `r.${log}.${encoded(reader)}.${partition}`,
} as const;

function encoded(name: string): string {
  return Buffer.from(name).toString("base64url");
}
