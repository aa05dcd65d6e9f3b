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
import { validateCommit } from "../../shared/key-values/validation.ts";
import type { EtcdConnection } from "../connection.ts";
import { asRead, isOutOfRange } from "../failures.ts";
import { base64 } from "../wire.ts";
import { CommitQueue } from "./commit-queue.ts";
import type { StoredEntry } from "./entries.ts";
import { ExpiryLeases } from "./expiry-leases.ts";
import { isOverdue, OverdueKeys } from "./overdue-keys.ts";
import { Reader, type StoredPage } from "./reader.ts";
import { Watches } from "./watches.ts";

export interface KeyValueSettings {
  readonly world: World;
  readonly prefix: string;
  readonly survives: KeyValueCapabilities["survives"];
  /** etcd's --max-txn-ops. */
  readonly operationsMax: number;
  /** etcd's --max-request-bytes. */
  readonly requestBytesMax: number;
}

const keyBytesMax = 1_024;
/** A request holds every key up to three times, and as much again to say what is to be done. */
const overheadBytes = (operations: number) => operations * 128;

/** Key-values as keys of etcd. Versions are revisions; commits are transactions that take effect only if what they rest on is as it was read. */
export class EtcdKeyValues implements KeyValueEngine {
  readonly capabilities: KeyValueCapabilities;
  readonly #world: World;
  readonly #reader: Reader;
  readonly #commits: CommitQueue;
  readonly #overdue: OverdueKeys;
  readonly #watches: Watches;
  readonly #commitBytesMax: number;
  #closed: TenonError | undefined;

  constructor(connection: EtcdConnection, settings: KeyValueSettings) {
    const { world, prefix, survives, operationsMax, requestBytesMax } = settings;
    this.#world = world;
    const reader = new Reader(connection, `${prefix}/kv/`, operationsMax);
    this.#reader = reader;
    this.#overdue = new OverdueKeys(world, (key, revision) => {
      const name = base64(reader.nameOf(key));
      return connection.transact("the end of a key", {
        compare: [{ key: name, target: "MOD", result: "EQUAL", mod_revision: String(revision) }],
        success: [{ request_delete_range: { key: name } }],
      });
    });
    // Half of what is left, so that keys that stand in a request three times have room as well.
    this.#commitBytesMax = Math.floor((requestBytesMax - overheadBytes(operationsMax)) * 0.75);
    this.#commits = new CommitQueue({
      world,
      connection,
      reader,
      leases: new ExpiryLeases(connection, world),
      overdue: (stored) => this.#overdue.remove(stored),
      operationsMax,
      bytesMax: this.#commitBytesMax,
    });
    this.#watches = new Watches({
      world,
      connection,
      reader,
      page: (watched, after) => this.#page(watched, after, pageSize),
      overdue: this.#overdue,
    });
    this.capabilities = {
      survives,
      multipleKeys: true,
      watch: true,
      expiryLatenessMs: 3_000,
      keyBytesMax,
      valueBytesMax: Math.min(1024 * 1024, this.#commitBytesMax - keyBytesMax),
      changesMax: operationsMax,
    };
  }

  async get(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    this.#throwIfClosed();
    if (keys.length === 0) return [];
    const { entries } = await this.#reader.read([...new Set(keys)]).catch(asRead);
    const now = this.#world.clock.now();
    return keys.map((key) => {
      const stored = entries.get(key);
      return stored && this.#present(stored, now);
    });
  }

  async commit(changes: readonly KeyValueChange[]): Promise<CommitResult> {
    this.#throwIfClosed();
    validateCommit(changes, this.capabilities, this.#commitBytesMax);
    return this.#commits.commit(changes);
  }

  async scan(prefix: string, options: ScanOptions = {}): Promise<readonly KeyValueEntry[]> {
    this.#throwIfClosed();
    const limit = options.limit ?? 1_000;
    if (!(Number.isInteger(limit) && limit > 0)) {
      throw new TenonError("invalid", `scan needs a limit of at least 1, not ${limit}`);
    }
    const found: KeyValueEntry[] = [];
    let { after } = options;
    let revision: number | undefined;
    do {
      let page: StoredPage;
      try {
        page = await this.#page(prefix, after, limit - found.length, revision).catch(asRead);
      } catch (error) {
        if (revision === undefined || !isOutOfRange(error)) throw error;
        // The revision of the first page was compacted meanwhile; the rest is as of now.
        revision = undefined;
        continue;
      }
      found.push(...page.entries);
      revision = page.revision;
      after = page.after;
      if (after === undefined) break;
    } while (found.length < limit);
    return found;
  }

  watch(prefix: string, options: { signal?: AbortSignal | undefined } = {}): AsyncIterable<WatchEvent> {
    return this.#watches.watch(prefix, options.signal);
  }

  async #page(prefix: string, after: string | undefined, sizeMax: number, revision?: number): Promise<StoredPage> {
    const page = await this.#reader.page(prefix, after, sizeMax, revision);
    const now = this.#world.clock.now();
    return { ...page, entries: page.stored.flatMap((stored) => this.#present(stored, now) ?? []) };
  }

  #present(stored: StoredEntry, now: number): KeyValueEntry | undefined {
    if (!isOverdue(stored.entry, now)) return stored.entry;
    this.#overdue.remove(stored);
    return undefined;
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
    this.#overdue.close();
    this.#watches.close(reason);
  }
}

const pageSize = 1_000;
