import type { Counter } from "./counter.ts";

/**
 * Typed key-values under one prefix. Commits are linearizable and durable when they resolve. A condition that does not hold is a result,
 * not an error. Nothing is retried: a failure with `outcome: "unknown"` may have happened.
 */
export interface KeyValue<T> {
  get(key: string): Promise<Entry<T> | undefined>;
  /** One entry per key, in the same order; all as of one instant. */
  getMany(keys: readonly string[]): Promise<readonly (Entry<T> | undefined)[]>;
  put(key: string, value: T, options?: Conditions & { readonly ttlMs?: number | undefined }): Promise<Written<T>>;
  /** Deleting an absent key without condition changes nothing. */
  delete(key: string, options?: Conditions): Promise<Written<T>>;
  /** All of the changes or none. A key may stand in one change only. */
  commit(changes: readonly Change<T>[]): Promise<CommitResult<T>>;
  /** A counter, which is not encoded by the codec: keep counters apart from the values that you scan or watch. */
  counter(key: string): Counter;
  /** Entries whose key starts with `prefix`, ordered by key. Each page is read at an instant of its own. */
  scan(prefix?: string, options?: ScanOptions): AsyncIterable<Entry<T>>;
  /**
   * Every present entry, then `synced`, then changes. Changes of one key may be merged; its last state and a delete that ends it are
   * never left out. Ends when the signal aborts.
   */
  watch(prefix?: string, options?: { readonly signal?: AbortSignal | undefined }): AsyncIterable<WatchEvent<T>>;
}

export interface Entry<T> {
  readonly key: string;
  readonly value: T;
  /** Greater after every change; never used again, also not after a delete. */
  readonly version: bigint;
  /** ms since the epoch by the engine's clock; `undefined`: never. */
  readonly expiresAt: number | undefined;
}

/** At most one of them. */
export interface Conditions {
  /** The key is not there, or has expired. */
  readonly ifAbsent?: boolean | undefined;
  /** The key is there, with exactly this version. */
  readonly ifVersion?: bigint | undefined;
}

export type Written<T> =
  | { readonly committed: true; readonly version: bigint }
  | { readonly committed: false; readonly current: Entry<T> | undefined };

export type Change<T> = Conditions & { readonly key: string } & (
    | { readonly type: "put"; readonly value: T; readonly ttlMs?: number | undefined }
    | { readonly type: "delete" }
    /** Adds to a counter. An absent one counts as 0. Fails when the sum would leave [min, max]. `ttlMs` is for one that it creates. */
    | {
        readonly type: "add";
        readonly by: number;
        readonly min?: number | undefined;
        readonly max?: number | undefined;
        readonly ttlMs?: number | undefined;
      }
    /** Changes nothing; the commit happens only if the condition holds. */
    | { readonly type: "check" }
  );

export type CommitResult<T> =
  | {
      readonly committed: true;
      readonly version: bigint;
      /** The new value for each `add`, at the change's index. */
      readonly counters: readonly (number | undefined)[];
    }
  | {
      readonly committed: false;
      /** The index of the first change whose condition or bound failed. */
      readonly failed: number;
      readonly reason: "condition" | "bound";
      /** What it met; `undefined` for an `add`. */
      readonly current: Entry<T> | undefined;
    };

export interface ScanOptions {
  /** At most this many entries; all when left out. */
  readonly limit?: number | undefined;
  /** Only keys greater than this one. */
  readonly after?: string | undefined;
  /** Entries asked for at a time; 1,000 when left out. */
  readonly pageSize?: number | undefined;
  /** Looked at before each page. */
  readonly signal?: AbortSignal | undefined;
}

export type WatchEvent<T> =
  | { readonly type: "put"; readonly entry: Entry<T> }
  | { readonly type: "delete"; readonly key: string; readonly version: bigint }
  | { readonly type: "synced" };
