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
import { keyOf, nameOf } from "../../shared/key-values/names.ts";
import { validateCommit } from "../../shared/key-values/validation.ts";
import type { KeyChange, Page } from "../../shared/key-values/watch.ts";
import type { Argument, Connection } from "../connection.ts";
import { asRead } from "../failures.ts";
import { boundsOf } from "./bounds.ts";
import { entryOf } from "./entries.ts";
import { changes, commit, get, scan } from "./scripts.ts";

export interface KeyValueSettings {
  readonly world: World;
  /** Before every key, such as `tenon`. */
  readonly prefix: string;
  /** The hash tag of the keys: all of them are in its slot. */
  readonly tag: string;
  readonly survives: KeyValueCapabilities["survives"];
}

/** How many names one call of the scan script looks at, and after how many bytes it ends. */
const pageSize = 1_000;
const pageBytes = 4 * 1024 * 1024;
/** A commit may hold this much in keys and values: the server works on it without looking at anybody else. */
const commitBytesMax = 15 * 1024 * 1024;
/** After how many bytes one answer about changes ends. */
const changesBytes = 1024 * 1024;

/** Key-values in one slot of Redis. Each commit is one script; reads are scripts too, as the server's clock says what has expired. */
export class RedisKeyValues implements KeyValueEngine {
  readonly capabilities: KeyValueCapabilities;
  readonly #connection: Connection;
  readonly #feed: ChangeFeed;
  readonly #keys: readonly string[];
  readonly #channel: string;
  #closed: TenonError | undefined;

  constructor(connection: Connection, settings: KeyValueSettings) {
    const base = `${settings.prefix}:{${settings.tag}}`;
    this.#connection = connection;
    this.#keys = ["entries", "names", "changes", "deleted", "expiring", "meta"].map((part) => `${base}:${part}`);
    this.#channel = `${base}:changed`;
    this.#feed = new ChangeFeed({
      world: settings.world,
      listen: (wake) => connection.listen(this.#channel, (payload) => wake(payload === undefined)),
      changes: (request) => this.#changes(request),
      page: (prefix, after) => this.#page(prefix, after, pageSize),
    });
    this.capabilities = {
      survives: settings.survives,
      multipleKeys: true,
      watch: true,
      expiryLatenessMs: 2_000,
      keyBytesMax: 4_096,
      valueBytesMax: 4 * 1024 * 1024,
      changesMax: 1_000,
    };
  }

  async get(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    this.#throwIfClosed();
    if (keys.length === 0) return [];
    const found = (await this.#connection
      .run(get, [this.#keys[0]!], keys.map(nameOf))
      .catch(asRead)) as (Buffer | null)[];
    return keys.map((key, index) => {
      const raw = found[index];
      return raw ? entryOf(key, raw) : undefined;
    });
  }

  async commit(changes: readonly KeyValueChange[]): Promise<CommitResult> {
    this.#throwIfClosed();
    validateCommit(changes, this.capabilities, commitBytesMax);
    const args: Argument[] = [this.#channel, changes.length];
    for (const change of changes) pushChange(args, change);
    const reply = (await this.#connection.run(commit, this.#keys, args)) as [Buffer, ...(Buffer | number | null)[]];
    return resultOf(changes, reply);
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
    const [entries, names, , , , meta] = this.#keys;
    const reply = this.#connection.run(scan, [entries!, names!, meta!], [...boundsOf(prefix, after), size, pageBytes]);
    const [version, last, ...found] = (await reply.catch(asRead)) as [Buffer, Buffer | null, ...Buffer[]];
    const page: KeyValueEntry[] = [];
    for (let index = 0; index < found.length; index += 2) page.push(entryOf(keyOf(found[index]!), found[index + 1]!));
    return { version: Number(version.toString()), entries: page, after: last === null ? undefined : keyOf(last) };
  }

  async #changes({ since, prefixes, identify }: ChangesRequest): Promise<Changes> {
    const args = [since, identify ? "1" : "0", changesBytes, this.#channel, ...prefixes.map(nameOf)];
    const reply = (await this.#connection.run(changes, this.#keys, args).catch(asRead)) as ChangesReply;
    const [server, version, more, expiryMs, incomplete, ...found] = reply;
    return {
      server: server?.toString(),
      version: Number(version.toString()),
      more: more.toString() === "1",
      expiryMs,
      incomplete: incomplete.toString() === "1",
      changed: changesOf(found),
    };
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
    this.#feed.close(reason);
  }
}

function pushChange(args: Argument[], change: KeyValueChange): void {
  const { condition } = change;
  const held = condition === undefined ? "" : "ifVersion" in condition ? String(condition.ifVersion) : "a";
  const name = nameOf(change.key);
  switch (change.type) {
    case "put":
      args.push("p", name, held, change.value, ttlOf(change.ttlMs));
      break;
    case "add":
      args.push("a", name, held, change.by, change.min ?? "", change.max ?? "", ttlOf(change.ttlMs));
      break;
    case "delete":
      args.push("d", name, held);
      break;
    case "check":
      args.push("c", name, held);
      break;
  }
}

function ttlOf(ttlMs: number | undefined): Argument {
  return ttlMs === undefined || ttlMs === Number.POSITIVE_INFINITY ? "" : ttlMs;
}

function resultOf(
  changes: readonly KeyValueChange[],
  [status, ...rest]: readonly [Buffer, ...(Buffer | number | null)[]],
): CommitResult {
  const what = status.toString();
  if (what === "ok") {
    const [version, ...sums] = rest as Buffer[];
    let next = 0;
    const counters = changes.map((change) => (change.type === "add" ? Number(sums[next++]!.toString()) : undefined));
    return { committed: true, version: BigInt(version!.toString()), counters };
  }
  const [failed, raw] = rest as [number, Buffer | null | undefined];
  const { key } = changes[failed]!;
  if (what === "condition" || what === "bound") {
    return { committed: false, failed, reason: what, current: raw ? entryOf(key, raw) : undefined };
  }
  if (what === "counter") {
    throw new TenonError("invalid", `the value of ${key} is no counter; add works on decimal digits only`, {
      fields: { key },
    });
  }
  throw new TenonError("invalid", `the counter ${key} would leave the range of safe integers`, { fields: { key } });
}

type ChangesReply = [
  server: Buffer | null,
  version: Buffer,
  more: Buffer,
  expiryMs: number,
  incomplete: Buffer,
  ...found: (Buffer | null)[],
];

function changesOf(found: readonly (Buffer | null)[]): readonly KeyChange[] {
  const changed: KeyChange[] = [];
  for (let index = 0; index < found.length; index += 3) {
    const key = keyOf(found[index]!);
    const raw = found[index + 2];
    const entry: KeyValueEntry | undefined = raw ? entryOf(key, raw) : undefined;
    changed.push({ key, version: Number(found[index + 1]!.toString()), entry });
  }
  return changed;
}
