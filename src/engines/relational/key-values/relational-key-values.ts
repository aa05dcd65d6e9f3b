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
import { keyOf, nameBytes } from "../../shared/key-values/names.ts";
import { validateCommit } from "../../shared/key-values/validation.ts";
import type { Page } from "../../shared/key-values/watch.ts";
import type { DatabaseConnection } from "../connection.ts";
import type { Listener } from "../listener.ts";
import type { KeyValueCommands } from "./commands.ts";
import { CommitQueue } from "./commit-queue.ts";
import { entryOf } from "./entries.ts";

export interface KeyValueSettings {
  readonly world: World;
  readonly commands: KeyValueCommands;
  /** What the names of channels begin with. */
  readonly prefix: string;
  readonly survives: KeyValueCapabilities["survives"];
}

/** A commit may hold this much in keys and values. */
const commitBytesMax = 15 * 1024 * 1024;
const pageSize = 1_000;

/** Where it is told that something was committed. */
export function keyValueChannel(prefix: string): string {
  return `${prefix}_kv`;
}

/** Watches that were away for longer read the state anew. */
const deletesKeptMs = 600_000;

/** Key-values in a table. Commits take effect one after the other, under the lock of the row that holds the last version. */
export class RelationalKeyValues implements KeyValueEngine {
  readonly capabilities: KeyValueCapabilities;
  readonly #connection: DatabaseConnection;
  readonly #commands: KeyValueCommands;
  readonly #channel: string;
  readonly #commits: CommitQueue;
  readonly #feed: ChangeFeed;
  #closed: TenonError | undefined;

  constructor(
    connection: DatabaseConnection,
    listener: Listener,
    { world, commands, prefix, survives }: KeyValueSettings,
  ) {
    this.#connection = connection;
    this.#commands = commands;
    this.#channel = keyValueChannel(prefix);
    this.#commits = new CommitQueue(connection, this.#commands, {
      channel: this.#channel,
      sweepDue: () => this.#sweep().catch(() => undefined),
      monotonic: () => world.clock.monotonic(),
    });
    this.#feed = new ChangeFeed({
      world,
      listen: (wake) => listener.listen(this.#channel, (payload) => wake(payload === undefined)),
      changes: (request) => this.#changes(request),
      page: (prefix, after) => this.#page(prefix, after, pageSize),
    });
    this.capabilities = {
      survives,
      multipleKeys: true,
      watch: true,
      expiryLatenessMs: 2_000,
      keyBytesMax: 2_048,
      valueBytesMax: 4 * 1024 * 1024,
      changesMax: 1_000,
    };
  }

  async get(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    this.#throwIfClosed();
    if (keys.length === 0) return [];
    const names = keys.map(nameBytes);
    const rows = await this.#connection.read("get", this.#commands.get, [names]);
    const found = new Map(rows.map((row) => [(row.key as Buffer).toString("latin1"), row]));
    return keys.map((key, index) => {
      const row = found.get(names[index]!.toString("latin1"));
      return row && entryOf(key, row);
    });
  }

  async commit(changes: readonly KeyValueChange[]): Promise<CommitResult> {
    this.#throwIfClosed();
    validateCommit(changes, this.capabilities, commitBytesMax);
    return this.#commits.commit(changes);
  }

  async scan(prefix: string, options: ScanOptions = {}): Promise<readonly KeyValueEntry[]> {
    this.#throwIfClosed();
    const limit = options.limit ?? 1_000;
    if (!(Number.isInteger(limit) && limit > 0)) {
      throw new TenonError("invalid", `scan needs a limit of at least 1, not ${limit}`);
    }
    const found: KeyValueEntry[] = [];
    let after = options.after;
    do {
      const page = await this.#page(prefix, after, Math.min(limit - found.length, pageSize));
      found.push(...page.entries);
      after = page.after;
    } while (after !== undefined && found.length < limit);
    return found;
  }

  watch(prefix: string, options: { signal?: AbortSignal | undefined } = {}): AsyncIterable<WatchEvent> {
    return this.#feed.watch(prefix, options.signal);
  }

  async #page(prefix: string, after: string | undefined, size: number): Promise<Page> {
    const from = nameBytes(after !== undefined && after >= prefix ? after : prefix);
    // Greater than every byte of a name.
    const to = prefix === "" ? null : Buffer.concat([nameBytes(prefix), Buffer.from([0xff])]);
    const including = after === undefined || after < prefix;
    const values = [from, to, size, including];
    const rows = await this.#connection.read("scan", this.#commands.page, values);
    const entries = rows.filter((row) => row.key !== null).map((row) => entryOf(keyOf(row.key as Buffer), row));
    const more = entries.length > 0 && Number(rows[0]!.count) > entries.length;
    return { version: Number(rows[0]!.at), entries, after: more ? entries.at(-1)!.key : undefined };
  }

  async #changes({ since, prefixes }: ChangesRequest): Promise<Changes> {
    const values = [since, prefixes.map(nameBytes)];
    const ask = () => this.#connection.read("watch", this.#commands.changes, values);
    let rows = await ask();
    const [{ ends, now }] = rows as [{ ends: number | null; now: number }];
    if (ends !== null && ends <= now) {
      await this.#sweep();
      rows = await ask();
    }
    const first = rows[0]!;
    const found = rows.filter((row) => row.key !== null);
    const more = found.length > 0 && (found.length >= this.#commands.rowsMax || Number(first.count) > found.length);
    const leftMs = first.ends === null ? -1 : Math.max(0, Math.ceil(Number(first.ends) - Number(first.now)));
    return {
      server: first.server as string,
      version: Number(more ? found.at(-1)!.version : first.at),
      more,
      expiryMs: leftMs,
      incomplete: since < Number(first.forgotten),
      changed: found.map((row) => {
        const key = keyOf(row.key as Buffer);
        return { key, version: Number(row.version), entry: row.value === null ? undefined : entryOf(key, row) };
      }),
    };
  }

  /** Deletes what has ended, and forgets old deletes. Whoever is at it already does it for all. */
  async #sweep(): Promise<void> {
    await this.#connection.transaction("the end of keys", async (transaction) => {
      const [row] = await transaction.run(this.#commands.trySweep);
      if (row === undefined) return;
      const now = row.now as number;
      await transaction.run(this.#commands.end, [now, this.#channel]);
      await transaction.run(this.#commands.forget, [now - deletesKeptMs]);
    });
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
    this.#feed.close(reason);
  }
}
