import type { TenonError } from "../../../contracts/errors.ts";
import type {
  CommitResult,
  KeyValueCapabilities,
  KeyValueChange,
  KeyValueEngine,
  KeyValueEntry,
  ScanOptions,
  WatchEvent,
} from "../../../contracts/key-value.ts";
import { operations } from "../wire/operations.ts";
import type { Feeds } from "./feeds.ts";
import { KeyWatch } from "./key-watch.ts";
import type { Link } from "./link.ts";

/** The `keyValue` contract of an engine that lives elsewhere. Nothing is repeated. */
export class RemoteKeyValues implements KeyValueEngine {
  readonly capabilities: KeyValueCapabilities;
  readonly #link: Link;
  readonly #feeds: Feeds;
  #closed: TenonError | undefined;

  constructor(link: Link, feeds: Feeds, capabilities: KeyValueCapabilities) {
    this.#link = link;
    this.#feeds = feeds;
    this.capabilities = capabilities;
  }

  async get(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    this.#throwIfClosed();
    return this.#link.call(operations.get, keys);
  }

  async commit(changes: readonly KeyValueChange[]): Promise<CommitResult> {
    this.#throwIfClosed();
    return this.#link.call(operations.commit, changes);
  }

  async scan(prefix: string, options: ScanOptions = {}): Promise<readonly KeyValueEntry[]> {
    this.#throwIfClosed();
    return this.#link.call(operations.scan, { prefix, options });
  }

  watch(prefix: string, options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterable<WatchEvent> {
    return new KeyWatch().events(this.#feeds.open(operations.watchKeys, { prefix }, options.signal));
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
  }
}
