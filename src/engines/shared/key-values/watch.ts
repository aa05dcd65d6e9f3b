import type { KeyValueEntry, WatchEvent } from "../../../contracts/key-value.ts";
import type { World } from "../../../world/world.ts";
import { isPassing } from "../passing.ts";

/** A part of a scan, as of one instant. */
export interface Page {
  /** The last version given at that instant. */
  readonly version: number;
  readonly entries: readonly KeyValueEntry[];
  /** Where the next part begins; `undefined` when there is none. */
  readonly after: string | undefined;
}

/** What became of a key: `entry` is `undefined` when it is no more. */
export interface KeyChange {
  readonly key: string;
  readonly version: number;
  readonly entry: KeyValueEntry | undefined;
}

export interface WatchSource {
  page(after: string | undefined): Promise<Page>;
  /** The watch takes changes from now on. */
  following(): void;
}

const retryMs = 200;
/** Less than every version. */
const unknownVersion = -1;

/**
 * One watcher: the state at its start, then changes, of which a slow reader gets only the last per key. It remembers the
 * versions that it has shown, so that after an outage too long for the feed it can say what has changed and what is no more.
 */
export class Watch {
  readonly prefix: string;
  readonly #world: World;
  readonly #source: WatchSource;
  readonly #shown = new Map<string, number>();
  readonly #changes = new Map<string, KeyChange>();
  /** All changes up to this version were offered; `undefined`: none are taken now. */
  #since: number | undefined;
  #stale = false;
  #error: unknown;
  #wakers: (() => void)[] = [];
  readonly #over = Promise.withResolvers<undefined>();
  #isOver = false;

  constructor(prefix: string, world: World, source: WatchSource) {
    this.prefix = prefix;
    this.#world = world;
    this.#source = source;
  }

  get since(): number | undefined {
    return this.#since;
  }

  /** Changes in the order of their versions, complete up to `upTo`. */
  offer(changed: readonly KeyChange[], upTo: number): void {
    const since = this.#since;
    if (since === undefined) return;
    for (const change of changed) if (change.version > since && change.key.startsWith(this.prefix)) this.#add(change);
    this.#since = Math.max(since, upTo);
    if (this.#changes.size > 0) this.#wake();
  }

  /** A change that comes again later moves to the end, so that what is delivered is in the order of versions. */
  #add(change: KeyChange): void {
    this.#changes.delete(change.key);
    this.#changes.set(change.key, change);
  }

  /** What was offered may not be all: the state has to be read anew. */
  reread(): void {
    this.#since = undefined;
    this.#stale = true;
    this.#wake();
  }

  fail(error: unknown): void {
    this.#error ??= error;
    this.#wake();
  }

  async *events(ended: AbortSignal, signal: AbortSignal | undefined): AsyncGenerator<WatchEvent> {
    const end = () => this.#end();
    ended.addEventListener("abort", end);
    signal?.addEventListener("abort", end);
    if (ended.aborted || signal?.aborted) end();
    try {
      yield* this.#state();
      if (!this.#isOver) yield { type: "synced" };
      while (!this.#isOver) {
        if (this.#stale) await this.#catchUp();
        const change = this.#isOver ? undefined : this.#next();
        if (change !== undefined) yield change;
        else if (this.#error !== undefined) throw this.#error;
        else if (!this.#stale && !this.#isOver) await this.#woken();
      }
      if (!signal?.aborted) throw ended.reason;
    } finally {
      ended.removeEventListener("abort", end);
      signal?.removeEventListener("abort", end);
    }
  }

  #end(): void {
    this.#isOver = true;
    this.#over.resolve(undefined);
    this.#wake();
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => this.#wakers.push(resolve));
  }

  /** Every present entry, part by part; changes are taken from the first part's instant on. */
  async *#state(): AsyncGenerator<WatchEvent> {
    for await (const page of this.#pages()) {
      for (const entry of page.entries) {
        if (this.#isOver) return;
        this.#shown.set(entry.key, Number(entry.version));
        yield { type: "put", entry };
      }
    }
  }

  async *#pages(): AsyncGenerator<Page> {
    let after: string | undefined;
    do {
      const page = await this.#read(after);
      if (page === undefined) return;
      if (after === undefined) {
        this.#stale = false;
        this.#since = page.version;
        this.#source.following();
      }
      yield page;
      after = page.after;
    } while (after !== undefined);
  }

  /** Waits for the end of an outage; `undefined` when the watch is over. */
  async #read(after: string | undefined): Promise<Page | undefined> {
    while (!this.#isOver) {
      try {
        return await Promise.race([this.#source.page(after), this.#over.promise]);
      } catch (error) {
        if (this.#isOver) return undefined;
        if (!isPassing(error)) throw error;
        await this.#pause();
      }
    }
    return undefined;
  }

  async #pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#world.timers.schedule(retryMs, resolve);
    await Promise.race([promise, this.#over.promise]);
    cancel();
  }

  /** Compares the state with what was shown, as changes. */
  async #catchUp(): Promise<void> {
    this.#changes.clear();
    const missed = new Map<string, KeyChange>();
    const vanished = new Set(this.#shown.keys());
    let version: number | undefined;
    for await (const page of this.#pages()) {
      version ??= page.version;
      for (const entry of page.entries) {
        vanished.delete(entry.key);
        const own = Number(entry.version);
        if (this.#shown.get(entry.key) !== own) missed.set(entry.key, { key: entry.key, version: own, entry });
      }
    }
    if (this.#isOver || version === undefined) return;
    for (const key of vanished) missed.set(key, { key, version, entry: undefined });
    // A server that has lost something may have older versions than those that were shown.
    for (const key of missed.keys()) if (this.#shown.has(key)) this.#shown.set(key, unknownVersion);
    for (const change of this.#changes.values()) {
      if ((missed.get(change.key)?.version ?? unknownVersion) < change.version) missed.set(change.key, change);
    }
    this.#changes.clear();
    for (const change of [...missed.values()].sort((a, b) => a.version - b.version)) this.#add(change);
  }

  #next(): WatchEvent | undefined {
    for (const change of this.#changes.values()) {
      this.#changes.delete(change.key);
      const event = this.#deliver(change);
      if (event !== undefined) return event;
    }
    return undefined;
  }

  /** `undefined` when the state, which is read in parts, has shown it already, or something newer. */
  #deliver({ key, version, entry }: KeyChange): WatchEvent | undefined {
    if (version <= (this.#shown.get(key) ?? unknownVersion)) return undefined;
    if (entry === undefined) {
      this.#shown.delete(key);
      return { type: "delete", key, version: BigInt(version) };
    }
    this.#shown.set(key, version);
    return { type: "put", entry };
  }
}
