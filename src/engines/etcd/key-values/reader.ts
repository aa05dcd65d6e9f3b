import { nameBytes } from "../../shared/key-values/names.ts";
import type { Page } from "../../shared/key-values/watch.ts";
import type { EtcdConnection } from "../connection.ts";
import { isOutOfRange } from "../failures.ts";
import { base64, type RangeReply, type RangeRequest, rangeOf, revisionOf, type TransactionReply } from "../wire.ts";
import { decodeEntry, lastVersionOf, type StoredEntry } from "./entries.ts";

/** Some keys as of one revision. */
export interface Snapshot {
  readonly revision: number;
  readonly entries: ReadonlyMap<string, StoredEntry>;
}

export interface StoredPage extends Page {
  readonly stored: readonly StoredEntry[];
  readonly revision: number;
}

/** About so many bytes are asked for at once; how large values are is known from those that came before. */
const pageBytes = 4 * 1024 * 1024;
const pageSize = { first: 64, most: 1_000 };
const attemptsMax = 5;

/** Reads keys of one prefix. */
export class Reader {
  readonly #connection: EtcdConnection;
  readonly #prefix: Buffer;
  readonly #operationsMax: number;
  #entryBytes = pageBytes / pageSize.first;

  constructor(connection: EtcdConnection, prefix: string, operationsMax: number) {
    this.#connection = connection;
    this.#prefix = Buffer.from(prefix);
    this.#operationsMax = operationsMax;
  }

  get prefixBytes(): number {
    return this.#prefix.length;
  }

  nameOf(key: string): Buffer {
    return Buffer.concat([this.#prefix, nameBytes(key)]);
  }

  /** All as of one revision, however many transactions it takes. */
  async read(keys: readonly string[]): Promise<Snapshot> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#read(keys);
      } catch (error) {
        // It was compacted between two of them.
        if (!isOutOfRange(error) || attempt >= attemptsMax) throw error;
      }
    }
  }

  async #read(keys: readonly string[]): Promise<Snapshot> {
    const found = new Map<string, StoredEntry>();
    let revision: number | undefined;
    let from = 0;
    do {
      const part = keys.slice(from, from + this.#operationsMax).map((key) => base64(this.nameOf(key)));
      // Something is asked for in any case, to hear which revision it is.
      const asked = part.length > 0 ? part : [base64(this.#prefix)];
      const success = asked.map((key) => ({
        request_range: revision === undefined ? { key } : { key, revision: String(revision) },
      }));
      const reply = await this.#connection.look("get", { success });
      revision ??= revisionOf(reply.header);
      for (const [key, stored] of this.entriesOf(reply.responses ?? [])) found.set(key, stored);
      from += this.#operationsMax;
    } while (from < keys.length);
    return { revision, entries: found };
  }

  entriesOf(responses: NonNullable<TransactionReply["responses"]>): Map<string, StoredEntry> {
    const found = new Map<string, StoredEntry>();
    for (const { response_range: range } of responses) {
      for (const pair of range?.kvs ?? []) {
        const stored = decodeEntry(pair, this.#prefix.length);
        found.set(stored.entry.key, stored);
      }
    }
    return found;
  }

  /** A part of the keys that begin so; `revision`: as of when, where it is not now. */
  async page(prefix: string, after: string | undefined, sizeMax: number, revision?: number): Promise<StoredPage> {
    const range = rangeOf(this.nameOf(prefix));
    const isWithin = after !== undefined && after >= prefix;
    const key = isWithin ? base64(Buffer.concat([this.nameOf(after), Buffer.from([0])])) : range.key;
    const limit = Math.max(1, Math.min(sizeMax, pageSize.most, Math.floor(pageBytes / this.#entryBytes)));
    const request: RangeRequest = { ...range, key, limit };
    const asked = revision === undefined ? request : { ...request, revision: String(revision) };
    const reply = await this.#connection.read<RangeReply>("scan", "kv/range", asked);
    const stored = (reply.kvs ?? []).map((pair) => decodeEntry(pair, this.#prefix.length));
    this.#learn(stored);
    const at = revision ?? revisionOf(reply.header);
    return {
      revision: at,
      version: lastVersionOf(at),
      stored,
      entries: stored.map(({ entry }) => entry),
      after: reply.more === true ? stored.at(-1)?.entry.key : undefined,
    };
  }

  #learn(stored: readonly StoredEntry[]): void {
    if (stored.length === 0) return;
    let bytes = 0;
    for (const { entry } of stored) bytes += entry.value.length + entry.key.length;
    this.#entryBytes = Math.max(bytes / stored.length, pageBytes / pageSize.most);
  }
}
