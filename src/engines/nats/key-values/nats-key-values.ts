import { TenonError } from "../../../contracts/errors.ts";
import type {
  CommitResult,
  KeyValueCapabilities,
  KeyValueChange,
  KeyValueEngine,
  KeyValueEntry,
  ScanOptions,
  WatchEvent,
} from "../../../contracts/key-value.ts";
import type { World } from "../../../world/world.ts";
import { ChangeFeed, type Changes, type ChangesRequest } from "../../shared/key-values/change-feed.ts";
import { refuseRepeatedKeys, validateCommit } from "../../shared/key-values/validation.ts";
import type { KeyChange, Page } from "../../shared/key-values/watch.ts";
import type { JetStream } from "../jet-stream.ts";
import type { NatsLink } from "../link.ts";
import type { ServerClock } from "../server-clock.ts";
import type { Streams } from "../streams.ts";
import { CommitQueue } from "./commit-queue.ts";
import { ForgottenMark } from "./forgotten-mark.ts";
import { KeyStore } from "./key-store.ts";
import { entryOf, type StoredValue } from "./stored-value.ts";
import { Sweeper } from "./sweeper.ts";

export interface KeyValueSettings {
  readonly world: World;
  readonly link: NatsLink;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly clock: ServerClock;
  readonly survives: KeyValueCapabilities["survives"];
  /** The server's `max_payload`. */
  readonly payloadBytesMax: number;
}

const largestValue = 4 * 1024 * 1024;
const valueShare = 3 / 4;
/** A watch reads the state in parts of so many keys, and changes so many at once. */
const pageSize = 5_000;
const changesMax = 1_000;
/** The last version is asked for so often. */
const lastEveryMs = 30_000;
/** Several keys are read again so often, until nothing changed between two readings. */
const readingsMax = 50;

/** Key-values in a stream that keeps the last message of each subject: a key is a subject, its version the sequence of its message. */
export class NatsKeyValues implements KeyValueEngine {
  readonly capabilities: KeyValueCapabilities;
  readonly #link: NatsLink;
  readonly #store: KeyStore;
  readonly #clock: ServerClock;
  readonly #forgotten: ForgottenMark;
  readonly #sweeper: Sweeper;
  readonly #commits: CommitQueue;
  readonly #feed: ChangeFeed;
  readonly #monotonic: () => number;
  #lastAskedAt = Number.NEGATIVE_INFINITY;
  #closed: TenonError | undefined;

  constructor(settings: KeyValueSettings) {
    const { world, link, jetStream, streams, clock, survives, payloadBytesMax } = settings;
    const subject = `${streams.prefix}.n.k`;
    const tell = () => link.tell(subject, "");
    this.#link = link;
    this.#clock = clock;
    this.#monotonic = () => world.clock.monotonic();
    this.#store = new KeyStore(jetStream, streams);
    this.#forgotten = new ForgottenMark(jetStream, streams);
    const store = this.#store;
    this.#sweeper = new Sweeper({ world, store, clock, forgotten: this.#forgotten, tell });
    this.#commits = new CommitQueue({ world, store, clock, sweeper: this.#sweeper, tell });
    this.#feed = new ChangeFeed({
      world,
      listen: (wake) => link.listen(subject, (payload) => wake(payload === undefined)),
      changes: (request) => this.#changes(request),
      page: (prefix, after) => this.#page(prefix, after),
    });
    this.capabilities = {
      survives,
      multipleKeys: false,
      watch: true,
      expiryLatenessMs: 2_000,
      keyBytesMax: 1_024,
      valueBytesMax: Math.min(largestValue, Math.floor(payloadBytesMax * valueShare)),
      changesMax: 1,
    };
  }

  async get(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    this.#throwIfClosed();
    if (keys.length === 0) return [];
    await this.#clock.ready();
    const subjects = keys.map((key) => this.#store.subjects.subjectOf(key));
    let read = await this.#store.readAll("get", subjects);
    for (let readings = 1; keys.length > 1; readings++) {
      const again = await this.#store.readAll("get", subjects);
      const isSame = again.every((stored, index) => stored?.sequence === read[index]?.sequence);
      read = again;
      // What was the same twice was so at every moment between.
      if (isSame) break;
      if (readings === readingsMax) throw tooLively(keys.length);
    }
    const now = this.#clock.earliest;
    return keys.map((key, index) => entryOf(key, read[index], now));
  }

  async commit(changes: readonly KeyValueChange[]): Promise<CommitResult> {
    this.#throwIfClosed();
    refuseRepeatedKeys(changes);
    if (changes.length > 1) throw severalKeys(changes.length);
    validateCommit(changes, this.capabilities, Number.POSITIVE_INFINITY);
    const [change] = changes;
    if (change === undefined) return { committed: true, version: 0n, counters: [] };
    return this.#commits.commit(change);
  }

  async scan(prefix: string, options: ScanOptions = {}): Promise<readonly KeyValueEntry[]> {
    this.#throwIfClosed();
    const limit = options.limit ?? 1_000;
    if (!(Number.isInteger(limit) && limit > 0)) {
      throw new TenonError("invalid", `scan needs a limit of at least 1, not ${limit}`);
    }
    await this.#clock.ready();
    const { after } = options;
    const listed = await this.#store.list("scan", prefix);
    const keys = after === undefined ? listed : listed.filter(({ key }) => key > after);
    const entries: KeyValueEntry[] = [];
    // Some of them are deleted or have ended.
    for (let from = 0; from < keys.length && entries.length < limit; from += limit) {
      const part = keys.slice(from, from + limit);
      const read = await this.#store.readAll(
        "scan",
        part.map(({ subject }) => subject),
      );
      const now = this.#clock.earliest;
      entries.push(...part.flatMap(({ key }, index) => entryOf(key, read[index], now) ?? []));
    }
    return entries.slice(0, limit);
  }

  watch(prefix: string, options: { signal?: AbortSignal | undefined } = {}): AsyncIterable<WatchEvent> {
    return this.#feed.watch(prefix, options.signal);
  }

  // What watches ask ---------------------------------------------------------------------------------------------------

  /** The version is from before anything was read: what changes meanwhile comes again as a change, if it is news. */
  async #page(prefix: string, after: string | undefined): Promise<Page> {
    await this.#clock.ready();
    const version = await this.#store.lastSequence("watch");
    const listed = await this.#store.list("watch", prefix);
    const keys = after === undefined ? listed : listed.filter(({ key }) => key > after);
    const part = keys.slice(0, pageSize);
    const read = await this.#store.readAll(
      "watch",
      part.map(({ subject }) => subject),
    );
    const now = this.#clock.earliest;
    const entries = part.flatMap(({ key, subject }, index) => {
      const stored = read[index];
      if (stored !== undefined) this.#sweeper.note(subject, stored);
      return entryOf(key, stored, now) ?? [];
    });
    return { version, entries, after: keys.length > part.length ? part.at(-1)!.key : undefined };
  }

  async #changes({ since, prefixes, identify }: ChangesRequest): Promise<Changes> {
    await this.#clock.ready();
    await this.#sweeper.sweep();
    const server = identify ? this.#link.serverId : undefined;
    if (since === Number.MAX_SAFE_INTEGER) {
      return { server, version: since, more: false, expiryMs: -1, incomplete: false, changed: [] };
    }
    // From before anything is read: what is forgotten after that is read, or is no news.
    const forgotten = await this.#forgotten.version();
    const last = await this.#lastNowAndThen();
    const changed = await this.#changedSince(since, prefixes);
    const more = changed.length >= changesMax;
    const read = changed.at(-1)?.version ?? since;
    return {
      server,
      version: more ? read : Math.max(read, last),
      more,
      expiryMs: this.#sweeper.nextEndMs,
      incomplete: since < forgotten,
      changed: changed.filter(({ key }) => prefixes.some((prefix) => key.startsWith(prefix))),
    };
  }

  /** Where nothing changes under the watched prefixes, other keys' deletions must not be taken for missed ones when they are forgotten. */
  async #lastNowAndThen(): Promise<number> {
    const now = this.#monotonic();
    if (now - this.#lastAskedAt < lastEveryMs) return 0;
    const last = await this.#store.lastSequence("watch");
    this.#lastAskedAt = now;
    return last;
  }

  async #changedSince(since: number, prefixes: readonly string[]): Promise<readonly KeyChange[]> {
    const [only = ""] = prefixes;
    const filter = prefixes.length === 1 ? only : "";
    const changed: KeyChange[] = [];
    for (let sequence = since + 1; changed.length < changesMax; ) {
      const found = await this.#store.next("watch", filter, sequence);
      if (found === undefined) break;
      const { key, subject } = found;
      this.#sweeper.note(subject, found);
      changed.push({ key, version: found.sequence, entry: this.#entryOf(key, found) });
      sequence = found.sequence + 1;
    }
    return changed;
  }

  #entryOf(key: string, stored: StoredValue): KeyValueEntry | undefined {
    return entryOf(key, stored, this.#clock.earliest);
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
    this.#sweeper.close();
    this.#feed.close(reason);
  }
}

function severalKeys(count: number): TenonError {
  const text = `a commit of ${count} changes: NATS changes one key at a time (capabilities.multipleKeys is false); commit them one by one, or use another engine`;
  return new TenonError("unsupported", text, { fields: { count } });
}

function tooLively(count: number): TenonError {
  const text = `${count} keys change too fast to be read as of one instant; read them one by one`;
  return new TenonError("unavailable", text, { fields: { count } });
}
