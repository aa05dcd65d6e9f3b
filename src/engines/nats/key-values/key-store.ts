import { atOnce } from "../at-once.ts";
import { asRead } from "../failures.ts";
import type { JetStream } from "../jet-stream.ts";
import type { Streams } from "../streams.ts";
import { KeySubjects } from "./key-subjects.ts";
import { decodeValue, type StoredValue } from "./stored-value.ts";

export interface FoundKey {
  readonly key: string;
  readonly subject: string;
}

/** The stream of key-values: one message for each key, or for its deletion. */
export class KeyStore {
  readonly subjects: KeySubjects;
  readonly #jetStream: JetStream;
  readonly #stream: string;

  constructor(jetStream: JetStream, streams: Streams) {
    this.#jetStream = jetStream;
    this.#stream = streams.keys;
    this.subjects = new KeySubjects(`${streams.prefix}.k`);
  }

  async read(what: string, subject: string): Promise<StoredValue | undefined> {
    const stored = await this.#jetStream.last(what, this.#stream, subject);
    return stored && decodeValue(stored);
  }

  readAll(what: string, subjects: readonly string[]): Promise<readonly (StoredValue | undefined)[]> {
    return atOnce(subjects, (subject) => this.read(what, subject));
  }

  /** `undefined` when the key's last message is not the one with this sequence (0: it has none). */
  write(what: string, subject: string, bytes: Buffer, last: number | undefined): Promise<number | undefined> {
    return this.#jetStream.put(what, subject, bytes, last);
  }

  /** The key's message is forgotten, if it is not followed by another. */
  forget(subject: string, sequence: number): Promise<void> {
    return this.#jetStream.purge("forgetting a deleted key", this.#stream, subject, sequence + 1);
  }

  /** Keys with the prefix that have a message, deleted ones included, sorted. */
  async list(what: string, prefix: string): Promise<readonly FoundKey[]> {
    const subjects = await this.#jetStream.subjects(what, this.#stream, this.subjects.filterOf(prefix)).catch(asRead);
    const found = subjects.map((subject) => ({ key: this.subjects.keyOf(subject), subject }));
    return found.filter(({ key }) => key.startsWith(prefix)).sort((one, other) => (one.key < other.key ? -1 : 1));
  }

  /** The first message of a key with the prefix from a sequence on. */
  async next(what: string, prefix: string, sequence: number): Promise<(FoundKey & StoredValue) | undefined> {
    const stored = await this.#jetStream.next(what, this.#stream, this.subjects.filterOf(prefix), sequence);
    return stored && { key: this.subjects.keyOf(stored.subject), subject: stored.subject, ...decodeValue(stored) };
  }

  /** The last sequence that was given. */
  async lastSequence(what: string): Promise<number> {
    return (await this.#jetStream.info(what, this.#stream))?.state.last_seq ?? 0;
  }
}
