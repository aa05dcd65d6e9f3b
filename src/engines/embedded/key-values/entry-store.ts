import { isCode } from "../../../contracts/errors.ts";
import type { KeyValueEntry } from "../../../contracts/key-value.ts";
import type { Core } from "../core.ts";
import { Reader, Writer } from "../cursor.ts";
import { type Journal, type Position, segmentOf } from "../journal/journal.ts";
import { Expiry } from "./expiry.ts";
import {
  bytesOfText,
  decodeFooterEntries,
  type Effect,
  effectsBytes,
  encodeFooterEntries,
  publicEntry,
  readEffects,
  type StoredEntry,
  textOfBytes,
  writeEffects,
} from "./key-value-records.ts";
import type { KeyChange } from "./watches.ts";

/** After so much copying forward, others get a turn. */
const movedAtOnceBytes = 1024 * 1024;
/** Expired keys of this length, in UTF-16 code units, are deleted by one record at most; far below a record's limit. */
const expiryLengthMax = 1024 * 1024;

export interface EntryStoreOptions {
  readonly core: Core;
  /** The kinds of its records; each store has its own, and its own versions. */
  readonly kinds: { readonly commit: number; readonly version: number };
  /** Values up to this size stay in memory; larger ones are read from the journal when asked for. */
  readonly inlineBytesMax: number;
  /** Values up to this size are repeated in the footers, so that they are in memory after opening, too. */
  readonly footerBytesMax: number;
  /** Whether an entry whose time has passed is deleted by a record, lest it come back when the clock is set back before the next opening; else it is just forgotten. */
  readonly recordsExpiry: (key: string) => boolean;
  readonly listener: EntryListener;
}

/** Who is told what happens to the entries, also while the journal is replayed. */
export interface EntryListener {
  added?(key: string): void;
  removed?(key: string): void;
  /** A commit's change, which becomes durable with the batch; not one that merely moved. */
  changed?(batch: number, change: KeyChange): void;
}

/** A map whose changes are records of the journal: several keys in one commit, each commit with a greater version. */
export class EntryStore {
  readonly #options: EntryStoreOptions;
  readonly #core: Core;
  readonly #listener: EntryListener;
  readonly #entries = new Map<string, StoredEntry>();
  readonly #expiry: Expiry;
  /** The keys that the active segment touched, for its footer. */
  readonly #touched = new Set<string>();
  /** How many entries, and how many of their bytes, each segment holds. */
  readonly #live = new Map<number, { count: number; bytes: number }>();
  #version = 0;
  #batch = 0;
  #deletedBatch = 0;

  constructor(options: EntryStoreOptions) {
    this.#options = options;
    this.#core = options.core;
    this.#listener = options.listener;
    this.#expiry = new Expiry(options.core.world, (keys) => this.#expire(keys));
  }

  /** Of the last commit. */
  get version(): number {
    return this.#version;
  }

  /** The journal's batch of the last commit. */
  get batch(): number {
    return this.#batch;
  }

  /** The journal's batch of the last delete: before it is durable no key may be said to be absent. */
  get deletedBatch(): number {
    return this.#deletedBatch;
  }

  /** Also one whose time has passed, as long as it is not swept. */
  get(key: string): StoredEntry | undefined {
    return this.#entries.get(key);
  }

  get size(): number {
    return this.#entries.size;
  }

  all(): IterableIterator<StoredEntry> {
    return this.#entries.values();
  }

  /** Has the effects written as one commit and applies them. Answers its version. */
  commit(effects: readonly Effect[]): number {
    this.#write(this.#version + 1, false, effects);
    return this.#version;
  }

  /** The entry with its value. `superseded`: the key was overwritten or deleted since, and where its value stood was cleaned away. */
  async load(entry: StoredEntry): Promise<KeyValueEntry | "superseded"> {
    if (entry.value !== undefined) return publicEntry(entry, bytesOfText(entry.value));
    // The entry may have moved since it was found; its newer copy holds the same value while its version is the same.
    for (let from = entry; ; ) {
      try {
        const payload = await this.#core.journal.read(from.position);
        return publicEntry(entry, payload.subarray(from.at, from.at + from.valueBytes));
      } catch (error) {
        const newer = this.#entries.get(entry.key);
        if (newer?.version !== entry.version) {
          if (isCode(error, "not-found")) return "superseded";
          throw error;
        }
        if (newer.position === from.position) throw error;
        from = newer;
      }
    }
  }

  #write(version: number, moved: boolean, effects: readonly Effect[]): void {
    const journal = this.#core.journal;
    const start = journal.append(this.#options.kinds.commit, effectsBytes(effects));
    const starts = writeEffects(new Writer(journal.buffer, start), version, moved, effects);
    this.#batch = journal.batch;
    this.#apply(version, moved, effects, starts, journal.position, journal.batch);
  }

  /** The values are the caller's or the journal's, so what is kept of them is copied. */
  #apply(
    version: number,
    moved: boolean,
    effects: readonly Effect[],
    starts: readonly number[],
    position: Position,
    batch: number,
  ): void {
    if (!moved) this.#version = version;
    const { inlineBytesMax } = this.#options;
    for (let i = 0; i < effects.length; i++) {
      const effect = effects[i]!;
      if (effect.type === "delete") {
        this.#remove(effect.key);
        this.#deletedBatch = batch;
        this.#listener.changed?.(batch, { type: "delete", key: effect.key, version: BigInt(version) });
        continue;
      }
      const { key, value, expiresAt } = effect;
      const valueBytes = value.length;
      const kept = valueBytes <= inlineBytesMax ? textOfBytes(value) : undefined;
      const entry = { key, value: kept, valueBytes, version, expiresAt, position, at: starts[i]!, batch };
      this.#put(entry);
      if (!moved) this.#listener.changed?.(batch, { type: "put", key, entry });
    }
  }

  #put(entry: StoredEntry): void {
    const old = this.#entries.get(entry.key);
    if (old !== undefined) this.#count(old, -1);
    this.#entries.set(entry.key, entry);
    this.#count(entry, 1);
    this.#touched.add(entry.key);
    this.#expiry.add(entry.key, entry.expiresAt, old?.expiresAt);
    if (old === undefined) this.#listener.added?.(entry.key);
  }

  #remove(key: string): void {
    const old = this.#entries.get(key);
    if (old === undefined) return;
    this.#count(old, -1);
    this.#entries.delete(key);
    this.#touched.add(key);
    this.#listener.removed?.(key);
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

  #expire(keys: readonly string[]): void {
    if (this.#core.closed) return;
    const now = this.#core.world.clock.now();
    let effects: Effect[] = [];
    let length = 0;
    let recorded = false;
    for (const key of keys) {
      const entry = this.#entries.get(key);
      if (entry === undefined) continue;
      if (entry.expiresAt > now) {
        this.#expiry.add(key, entry.expiresAt);
        continue;
      }
      if (!this.#options.recordsExpiry(key)) {
        this.#remove(key);
        continue;
      }
      recorded = true;
      effects.push({ type: "delete", key });
      length += key.length;
      if (length < expiryLengthMax) continue;
      this.commit(effects);
      effects = [];
      length = 0;
    }
    if (effects.length > 0) this.commit(effects);
    if (recorded) this.#core.flush();
  }

  /** Everything is replayed. */
  start(): void {
    this.#expiry.start();
  }

  close(): void {
    this.#expiry.close();
  }

  replay(payload: Buffer, position: Position): void {
    const { version, moved, effects, starts } = readEffects(new Reader(payload));
    this.#apply(version, moved, effects, starts, position, 0);
  }

  /** The footer's section for the active segment, which has just been sealed. */
  footer(): Buffer {
    const touched = new Map<string, StoredEntry | undefined>();
    for (const key of this.#touched) touched.set(key, this.#entries.get(key));
    this.#touched.clear();
    return encodeFooterEntries(touched, this.#options.footerBytesMax);
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

  /** A snapshot of the version alone; the entries stand in the footers. */
  snapshot(journal: Journal): void {
    const at = journal.append(this.#options.kinds.version, 8);
    journal.buffer.writeDoubleLE(this.#version, at);
  }

  /** Answers whether the record was this store's. */
  replaySnapshot(kind: number, reader: Reader): boolean {
    if (kind !== this.#options.kinds.version) return false;
    this.#version = Math.max(this.#version, reader.f64());
    return true;
  }

  /** How much of a segment is still the last word on some key. */
  liveBytes(segment: number): number {
    return this.#live.get(segment)?.bytes ?? 0;
  }

  /** Writes the entries that lie in the segment anew; some at a time. */
  async move(segment: number): Promise<void> {
    let copiedBytes = 0;
    for (const key of this.#keysIn(segment)) {
      const entry = this.#entries.get(key);
      if (entry === undefined || segmentOf(entry.position) !== segment) continue;
      const loaded = await this.load(entry);
      if (this.#core.closed) return;
      if (loaded === "superseded" || this.#entries.get(key) !== entry) continue;
      this.#write(entry.version, true, [{ type: "put", key, value: loaded.value, expiresAt: entry.expiresAt }]);
      copiedBytes += entry.valueBytes + key.length;
      if (copiedBytes < movedAtOnceBytes) continue;
      copiedBytes = 0;
      await this.#core.journal.durable();
    }
  }

  #keysIn(segment: number): string[] {
    if (!this.#live.has(segment)) return [];
    const keys: string[] = [];
    for (const entry of this.#entries.values()) if (segmentOf(entry.position) === segment) keys.push(entry.key);
    return keys;
  }
}
