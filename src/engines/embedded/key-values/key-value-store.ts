import { TenonError } from "../../../contracts/errors.ts";
import type {
  CommitResult,
  Condition,
  KeyValueCapabilities,
  KeyValueChange,
  KeyValueEngine,
  KeyValueEntry,
  ScanOptions,
  WatchEvent,
} from "../../../contracts/key-value.ts";
import type { Clock } from "../../../world/world.ts";
import { utf8Length } from "../../shared/utf8.ts";
import type { Core } from "../core.ts";
import { recordKind } from "../records.ts";
import { EntryStore } from "./entry-store.ts";
import { type Effect, footerBytesMax, inlineBytesMax, type StoredEntry } from "./key-value-records.ts";
import { SortedKeys } from "./sorted-keys.ts";
import { type KeyChange, Watch } from "./watches.ts";

/** A commit may hold this much; a record's limit less what surrounds it. */
const commitBytesMax = 15 * 1024 * 1024;

/** The key-values: a map in memory, whose large values lie in the journal. */
export class KeyValueStore implements KeyValueEngine {
  readonly capabilities: KeyValueCapabilities;
  readonly #core: Core;
  readonly #clock: Clock;
  /** The entries as the journal keeps them. */
  readonly entries: EntryStore;
  readonly #keys = new SortedKeys();
  readonly #watches = new Set<Watch>();
  /** What watchers will hear when the batch is durable. */
  readonly #changes: { readonly batch: number; readonly change: KeyChange }[] = [];

  constructor(core: Core, survives: KeyValueCapabilities["survives"]) {
    this.#core = core;
    this.#clock = core.world.clock;
    this.entries = new EntryStore({
      core,
      kinds: { commit: recordKind.keyValues, version: recordKind.snapshotVersion },
      inlineBytesMax,
      footerBytesMax,
      recordsExpiry: () => true,
      listener: {
        added: (key) => this.#keys.add(key),
        removed: (key) => this.#keys.delete(key),
        changed: (batch, change) => {
          if (this.#watches.size > 0) this.#changes.push({ batch, change });
        },
      },
    });
    this.capabilities = {
      survives,
      multipleKeys: true,
      watch: true,
      expiryLatenessMs: 2_000,
      keyBytesMax: 4_096,
      valueBytesMax: 4 * 1024 * 1024,
      changesMax: 1_000,
    };
  }

  async get(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]> {
    for (;;) {
      this.#core.throwIfClosed();
      const now = this.#clock.now();
      const found = keys.map((key) => this.#present(key, now));
      await this.#durable(found);
      const loaded = await Promise.all(found.map((entry) => entry && this.entries.load(entry)));
      if (!loaded.includes("superseded")) return loaded as (KeyValueEntry | undefined)[];
    }
  }

  async commit(changes: readonly KeyValueChange[]): Promise<CommitResult> {
    this.#core.throwIfClosed();
    this.#validate(changes);
    const now = this.#clock.now();
    const effects: Effect[] = [];
    const counters: (number | undefined)[] = [];
    for (let index = 0; index < changes.length; index++) {
      const change = changes[index]!;
      const current = this.#present(change.key, now);
      const failure = this.#evaluate(change, current, now, effects, counters);
      if (failure === undefined) continue;
      await this.#core.journal.durable();
      let entry = current && (await this.entries.load(current));
      // What it met is gone for good; what came after it is what a caller can go on from.
      if (entry === "superseded") [entry] = await this.get([change.key]);
      return { committed: false, failed: index, reason: failure, current: entry };
    }
    if (effects.length > 0) {
      if (effects.some((effect) => effect.type === "put")) this.#core.throwIfFull("the commit");
      this.entries.commit(effects);
    }
    const version = BigInt(this.entries.version);
    await this.#core.journal.durable();
    return { committed: true, version, counters };
  }

  async scan(prefix: string, options: ScanOptions = {}): Promise<readonly KeyValueEntry[]> {
    const limit = options.limit ?? 1_000;
    if (!(Number.isInteger(limit) && limit > 0)) {
      throw new TenonError("invalid", `scan needs a limit of at least 1, not ${limit}`);
    }
    for (;;) {
      this.#core.throwIfClosed();
      const found = this.#range(prefix, options.after, limit);
      await this.#durable(found);
      const loaded = await Promise.all(found.map((entry) => this.entries.load(entry)));
      if (!loaded.includes("superseded")) return loaded as KeyValueEntry[];
    }
  }

  async *watch(prefix: string, options: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<WatchEvent> {
    this.#core.throwIfClosed();
    const watch = new Watch(prefix, this.entries.version);
    this.#watches.add(watch);
    try {
      yield* watch.events(this.#state(prefix), (entry) => this.entries.load(entry), options.signal);
    } finally {
      this.#watches.delete(watch);
    }
  }

  /** Every present entry as of now, when it is durable. */
  async #state(prefix: string): Promise<readonly StoredEntry[]> {
    const found = this.#range(prefix, undefined, Infinity).sort((a, b) => a.version - b.version);
    await this.#core.journal.durable();
    return found;
  }

  #range(prefix: string, after: string | undefined, limit: number): StoredEntry[] {
    const now = this.#clock.now();
    const found: StoredEntry[] = [];
    for (const key of this.#keys.from(after !== undefined && after > prefix ? after : prefix)) {
      if (!key.startsWith(prefix) || found.length === limit) break;
      const entry = after !== undefined && key <= after ? undefined : this.#present(key, now);
      if (entry !== undefined) found.push(entry);
    }
    return found;
  }

  #present(key: string, now: number): StoredEntry | undefined {
    const entry = this.entries.get(key);
    return entry !== undefined && entry.expiresAt > now ? entry : undefined;
  }

  async #durable(entries: readonly (StoredEntry | undefined)[]): Promise<void> {
    const durable = this.#core.journal.durableBatch;
    const pending = entries.some((entry) => entry !== undefined && entry.batch > durable);
    if (pending || this.entries.deletedBatch > durable) await this.#core.journal.durable();
  }

  #validate(changes: readonly KeyValueChange[]): void {
    const { changesMax, keyBytesMax, valueBytesMax } = this.capabilities;
    if (changes.length > changesMax) {
      throw new TenonError(
        "invalid",
        `a commit of ${changes.length} changes exceeds the limit of ${changesMax}; split it`,
      );
    }
    let bytes = 0;
    for (let index = 0; index < changes.length; index++) {
      const change = changes[index]!;
      if (typeof change.key !== "string") {
        throw new TenonError("invalid", `the key of change ${index} is no string but of type ${typeof change.key}`);
      }
      const condition = change.condition;
      if (condition !== undefined && "ifVersion" in condition && typeof condition.ifVersion !== "bigint") {
        throw new TenonError(
          "invalid",
          `ifVersion of change ${index} must be the bigint that an entry has as its version`,
        );
      }
      const keyBytes = utf8Length(change.key);
      if (keyBytes === 0 || keyBytes > keyBytesMax) {
        throw new TenonError("invalid", `a key of ${keyBytes} bytes is not within 1 to ${keyBytesMax}`);
      }
      // UTF-8 has no form for a lone surrogate: several keys would become one.
      if (!change.key.isWellFormed()) {
        throw new TenonError("invalid", `the key of change ${index} is not well-formed Unicode; encode it first`);
      }
      bytes += keyBytes;
      if (change.type === "put") bytes += validValueBytes(change.value, valueBytesMax);
      if (change.type === "add") validateAdd(change);
      if ("ttlMs" in change && change.ttlMs !== undefined && !(change.ttlMs > 0)) {
        throw new TenonError("invalid", `ttlMs must be greater than 0, not ${change.ttlMs}`);
      }
    }
    refuseRepeatedKeys(changes);
    if (bytes > commitBytesMax) {
      throw new TenonError("invalid", `a commit of ${bytes} bytes exceeds the limit of ${commitBytesMax}; split it`);
    }
  }

  /** Adds what the change does to `effects`; answers why it cannot be done, if so. */
  #evaluate(
    change: KeyValueChange,
    current: StoredEntry | undefined,
    now: number,
    effects: Effect[],
    counters: (number | undefined)[],
  ): "condition" | "bound" | undefined {
    if (change.condition !== undefined && !holds(change.condition, current)) return "condition";
    if (change.type === "add") {
      const sum = counterOf(change.key, current) + change.by;
      if (!Number.isSafeInteger(sum)) {
        throw new TenonError("invalid", `the counter ${change.key} would leave the range of safe integers`);
      }
      if (sum < (change.min ?? -Infinity) || sum > (change.max ?? Infinity)) return "bound";
      const expiresAt = current === undefined ? expiryOf(change.ttlMs, now) : current.expiresAt;
      effects.push({ type: "put", key: change.key, value: Buffer.from(String(sum), "latin1"), expiresAt });
      counters.push(sum);
      return undefined;
    }
    counters.push(undefined);
    if (change.type === "put") {
      effects.push({ type: "put", key: change.key, value: change.value, expiresAt: expiryOf(change.ttlMs, now) });
    } else if (change.type === "delete" && current !== undefined) effects.push({ type: "delete", key: change.key });
    return undefined;
  }

  /** Tells the watchers what has become durable. */
  durable(batch: number): void {
    let done = 0;
    for (const { batch: own, change } of this.#changes) {
      if (own > batch) break;
      done += 1;
      for (const watch of this.#watches) watch.offer(change);
    }
    this.#changes.splice(0, done);
  }

  /** Everything is replayed. */
  start(): void {
    this.entries.start();
  }

  close(reason: TenonError): void {
    this.entries.close();
    for (const watch of this.#watches) watch.fail(reason);
  }
}

function validValueBytes(value: Uint8Array, valueBytesMax: number): number {
  if (!(value instanceof Uint8Array)) throw new TenonError("invalid", "a value is no Uint8Array; encode it first");
  if (value.length > valueBytesMax) {
    throw new TenonError("invalid", `a value of ${value.length} bytes exceeds the limit of ${valueBytesMax}`);
  }
  return value.length;
}

/** A few keys are compared pair by pair, which is faster than hashing them; many are hashed. */
function refuseRepeatedKeys(changes: readonly KeyValueChange[]): void {
  if (changes.length > 8) {
    if (new Set(changes.map(({ key }) => key)).size === changes.length) return;
    throw new TenonError("invalid", "two changes of one commit are for the same key; merge them");
  }
  for (let index = 1; index < changes.length; index++) {
    for (let other = 0; other < index; other++) {
      if (changes[other]!.key !== changes[index]!.key) continue;
      throw new TenonError("invalid", `changes ${other} and ${index} of one commit are for the same key; merge them`);
    }
  }
}

function validateAdd({ key, by, min, max }: Extract<KeyValueChange, { type: "add" }>): void {
  for (const figure of [by, min ?? 0, max ?? 0]) {
    if (!Number.isSafeInteger(figure))
      throw new TenonError("invalid", `${figure} for the counter ${key} is no safe integer`);
  }
}

function holds(condition: Condition, current: StoredEntry | undefined): boolean {
  if ("ifAbsent" in condition) return current === undefined;
  return current !== undefined && BigInt(current.version) === condition.ifVersion;
}

function expiryOf(ttlMs: number | undefined, now: number): number {
  return ttlMs === undefined ? Infinity : now + ttlMs;
}

function counterOf(key: string, entry: StoredEntry | undefined): number {
  if (entry === undefined) return 0;
  const text = entry.value ?? "";
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw new TenonError("invalid", `the value of ${key} is no counter; add works on decimal digits only`);
}
