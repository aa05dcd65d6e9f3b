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
import type { Core } from "../core.ts";
import { Reader, utf8Length, Writer } from "../cursor.ts";
import { type Journal, segmentOf } from "../journal/journal.ts";
import { recordKind } from "../records.ts";
import { Expiry } from "./expiry.ts";
import {
  decodeFooterEntries,
  type Effect,
  effectsBytes,
  encodeFooterEntries,
  inlineBytesMax,
  publicEntry,
  readEffects,
  type StoredEntry,
  writeEffects,
} from "./key-value-records.ts";
import { SortedKeys } from "./sorted-keys.ts";
import { type KeyChange, Watch } from "./watches.ts";

/** A commit may hold this much; a record's limit less what surrounds it. */
const commitBytesMax = 15 * 1024 * 1024;
/** After so much copying forward, others get a turn. */
const movedAtOnceBytes = 1024 * 1024;
/** Expired keys of this length, in UTF-16 code units, are deleted by one record at most; far below a record's limit. */
const expiryLengthMax = 1024 * 1024;

/** The key-values: a map in memory, whose large values lie in the journal. */
export class KeyValueStore implements KeyValueEngine {
  readonly capabilities: KeyValueCapabilities;
  readonly #core: Core;
  readonly #clock: Clock;
  readonly #entries = new Map<string, StoredEntry>();
  readonly #keys = new SortedKeys();
  readonly #expiry: Expiry;
  /** The keys that the active segment touched, for its footer. */
  readonly #touched = new Set<string>();
  /** How many entries, and how many of their bytes, each segment holds. */
  readonly #live = new Map<number, { count: number; bytes: number }>();
  readonly #watches = new Set<Watch>();
  /** What watchers will hear when the batch is durable. */
  readonly #changes: { readonly batch: number; readonly change: KeyChange }[] = [];
  #version = 0;
  /** The journal's batch of the last delete: before it is durable no key may be said to be absent. */
  #deletedBatch = 0;

  constructor(core: Core, survives: KeyValueCapabilities["survives"]) {
    this.#core = core;
    this.#clock = core.world.clock;
    this.#expiry = new Expiry(core.world, (keys) => this.#expire(keys));
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
      const loaded = await Promise.all(found.map((entry) => entry && this.#load(entry)));
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
      let entry = current && (await this.#load(current));
      // What it met is gone for good; what came after it is what a caller can go on from.
      if (entry === "superseded") [entry] = await this.get([change.key]);
      return { committed: false, failed: index, reason: failure, current: entry };
    }
    if (effects.length > 0) {
      if (effects.some((effect) => effect.type === "put")) this.#core.throwIfFull("the commit");
      this.#write(this.#version + 1, false, effects);
    }
    const version = BigInt(this.#version);
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
      const loaded = await Promise.all(found.map((entry) => this.#load(entry)));
      if (!loaded.includes("superseded")) return loaded as KeyValueEntry[];
    }
  }

  async *watch(prefix: string, options: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<WatchEvent> {
    this.#core.throwIfClosed();
    const watch = new Watch(prefix, this.#version);
    this.#watches.add(watch);
    try {
      yield* watch.events(this.#state(prefix), (entry) => this.#load(entry), options.signal);
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
    const entry = this.#entries.get(key);
    return entry !== undefined && entry.expiresAt > now ? entry : undefined;
  }

  async #durable(entries: readonly (StoredEntry | undefined)[]): Promise<void> {
    const durable = this.#core.journal.durableBatch;
    const pending = entries.some((entry) => entry !== undefined && entry.batch > durable);
    if (pending || this.#deletedBatch > durable) await this.#core.journal.durable();
  }

  /** `superseded`: the key was overwritten or deleted since, and where its value stood was cleaned away. */
  async #load(entry: StoredEntry): Promise<KeyValueEntry | "superseded"> {
    if (entry.value !== undefined) return publicEntry(entry, entry.value);
    // The entry may have moved since it was found; its newer copy holds the same value while its version is the same.
    for (let from = entry; ; ) {
      try {
        const payload = await this.#core.journal.read(from.position);
        return publicEntry(entry, payload.subarray(from.at, from.at + from.valueBytes));
      } catch (error) {
        const newer = this.#entries.get(entry.key);
        if (newer?.version !== entry.version) {
          if (error instanceof TenonError && error.code === "not-found") return "superseded";
          throw error;
        }
        if (newer.position === from.position) throw error;
        from = newer;
      }
    }
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

  /** Writes the record and applies it. */
  #write(version: number, moved: boolean, effects: readonly Effect[]): void {
    const journal = this.#core.journal;
    const start = journal.append(recordKind.keyValues, effectsBytes(effects));
    const starts = writeEffects(new Writer(journal.buffer, start), version, moved, effects);
    this.#apply(version, moved, effects, starts, journal.position, journal.batch);
  }

  /** The values are the caller's or the journal's, so what is kept of them is copied. */
  #apply(
    version: number,
    moved: boolean,
    effects: readonly Effect[],
    starts: readonly number[],
    position: number,
    batch: number,
  ): void {
    if (!moved) this.#version = version;
    for (let i = 0; i < effects.length; i++) {
      const effect = effects[i]!;
      if (effect.type === "delete") {
        this.#remove(effect.key);
        this.#deletedBatch = batch;
        this.#notify(batch, { type: "delete", key: effect.key, version: BigInt(version) });
        continue;
      }
      const { key, value, expiresAt } = effect;
      const valueBytes = value.length;
      const kept = valueBytes <= inlineBytesMax ? new Uint8Array(value) : undefined;
      const entry = { key, value: kept, valueBytes, version, expiresAt, position, at: starts[i]!, batch };
      this.#put(entry);
      if (!moved) this.#notify(batch, { type: "put", key, entry });
    }
  }

  #put(entry: StoredEntry): void {
    const old = this.#entries.get(entry.key);
    if (old === undefined) this.#keys.add(entry.key);
    else this.#count(old, -1);
    this.#entries.set(entry.key, entry);
    this.#count(entry, 1);
    this.#touched.add(entry.key);
    this.#expiry.add(entry.key, entry.expiresAt, old?.expiresAt);
  }

  #remove(key: string): void {
    const old = this.#entries.get(key);
    if (old === undefined) return;
    this.#count(old, -1);
    this.#entries.delete(key);
    this.#keys.delete(key);
    this.#touched.add(key);
  }

  #count(entry: StoredEntry, by: 1 | -1): void {
    const segment = segmentOf(entry.position);
    let live = this.#live.get(segment);
    if (live === undefined) {
      live = { count: 0, bytes: 0 };
      this.#live.set(segment, live);
    }
    live.count += by;
    live.bytes += by * (entry.valueBytes + entry.key.length + 32);
    if (live.count === 0) this.#live.delete(segment);
  }

  #notify(batch: number, change: KeyChange): void {
    if (this.#watches.size > 0) this.#changes.push({ batch, change });
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

  #expire(keys: Iterable<string>): void {
    if (this.#core.closed) return;
    const now = this.#clock.now();
    let effects: Effect[] = [];
    let length = 0;
    for (const key of keys) {
      const entry = this.#entries.get(key);
      if (entry === undefined) continue;
      if (entry.expiresAt > now) {
        this.#expiry.add(key, entry.expiresAt);
        continue;
      }
      effects.push({ type: "delete", key });
      length += key.length;
      if (length < expiryLengthMax) continue;
      this.#write(this.#version + 1, false, effects);
      effects = [];
      length = 0;
    }
    if (effects.length > 0) this.#write(this.#version + 1, false, effects);
    this.#core.flush();
  }

  /** Everything is replayed. */
  start(): void {
    this.#expiry.start();
  }

  get version(): number {
    return this.#version;
  }

  restoreVersion(version: number): void {
    this.#version = version;
  }

  replay(payload: Buffer, position: number): void {
    const { version, moved, effects, starts } = readEffects(new Reader(payload));
    this.#apply(version, moved, effects, starts, position, 0);
  }

  /** The footer's section for the active segment, which has just been sealed. */
  footer(): Buffer {
    const touched = new Map<string, StoredEntry | undefined>();
    for (const key of this.#touched) touched.set(key, this.#entries.get(key));
    this.#touched.clear();
    return encodeFooterEntries(touched);
  }

  loadFooter(reader: Reader): void {
    decodeFooterEntries(reader, (key, entry) => {
      if (entry === undefined) this.#remove(key);
      else {
        this.#put(entry);
        this.#version = Math.max(this.#version, entry.version);
      }
    });
    this.#touched.clear();
  }

  /** How much of a segment is still the last word on some key. */
  liveBytes(segment: number): number {
    return this.#live.get(segment)?.bytes ?? 0;
  }

  /** Writes the entries among `keys` that lie in the segment anew; some at a time. */
  async move(segment: number, keys: readonly string[]): Promise<void> {
    let copiedBytes = 0;
    for (const key of keys) {
      const entry = this.#entries.get(key);
      if (entry === undefined || segmentOf(entry.position) !== segment) continue;
      const loaded = await this.#load(entry);
      if (this.#core.closed) return;
      if (loaded === "superseded" || this.#entries.get(key) !== entry) continue;
      this.#write(entry.version, true, [{ type: "put", key, value: loaded.value, expiresAt: entry.expiresAt }]);
      copiedBytes += entry.valueBytes + key.length;
      if (copiedBytes < movedAtOnceBytes) continue;
      copiedBytes = 0;
      await this.#core.journal.durable();
    }
  }

  /** The keys whose entries lie in a segment. */
  keysIn(segment: number): string[] {
    if (!this.#live.has(segment)) return [];
    const keys: string[] = [];
    for (const entry of this.#entries.values()) if (segmentOf(entry.position) === segment) keys.push(entry.key);
    return keys;
  }

  close(reason: TenonError): void {
    this.#expiry.close();
    for (const watch of this.#watches) watch.fail(reason);
  }
}

/** A snapshot of the version alone; the entries stand in the footers. */
export function appendVersion(journal: Journal, version: number): void {
  const at = journal.append(recordKind.snapshotVersion, 8);
  journal.buffer.writeDoubleLE(version, at);
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
  const text = entry.value === undefined ? "" : Buffer.from(entry.value).toString("latin1");
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw new TenonError("invalid", `the value of ${key} is no counter; add works on decimal digits only`);
}
