/**
 * What an engine must do to carry key-values: versioned values, conditions, bounded counters, several keys in one commit,
 * time to live, watch by prefix.
 *
 * Commits are linearizable. Versions come from one counter: each commit gets a greater one than every commit
 * before it, also for keys that were deleted in between. Every failure is a `TenonError`. Engines never retry a commit:
 * one that fails with `outcome: "unknown"` may have happened.
 */
export interface KeyValueEngine {
  readonly capabilities: KeyValueCapabilities;

  /** One entry per key, in the same order; all as of one instant. Answers only what is durable. */
  get(keys: readonly string[]): Promise<readonly (KeyValueEntry | undefined)[]>;

  /**
   * All of the changes or none. Conditions and bounds are looked at in order, against the state before the
   * commit; the first one that fails is an answer, not an error. A key may stand in one change only (`invalid`).
   * Durable when it resolves. Commits of one caller take effect in the order of the calls.
   * `invalid` when an `add` meets a value that is not a counter.
   */
  commit(changes: readonly KeyValueChange[]): Promise<CommitResult>;

  /** Entries whose key starts with `prefix`, ordered by key (by UTF-16 code unit), greater than `after` when given. */
  scan(prefix: string, options?: ScanOptions): Promise<readonly KeyValueEntry[]>;

  /**
   * First every present entry as a `put`, then `synced`, then changes in the order of their versions. Changes of one key may be
   * merged, but the last state and a delete that ends it are never left out. Expiry is seen as `delete`.
   * Ends when the signal aborts; throws `closed` when the engine closes. A slow reader costs memory per changed key, not per change.
   */
  watch(prefix: string, options?: { readonly signal?: AbortSignal | undefined }): AsyncIterable<WatchEvent>;
}

export interface KeyValueCapabilities {
  readonly survives: "nothing" | "process" | "machine" | "replicas";
  /** Whether one commit may hold several keys. */
  readonly multipleKeys: boolean;
  readonly watch: boolean;
  /** How long after its end an expired key may still be visible, in milliseconds. At most 3,000. */
  readonly expiryLatenessMs: number;
  /** In bytes of UTF-8. */
  readonly keyBytesMax: number;
  readonly valueBytesMax: number;
  readonly changesMax: number;
}

export interface KeyValueEntry {
  readonly key: string;
  /** A counter's value is its decimal digits in ASCII. Must not be changed. */
  readonly value: Uint8Array;
  readonly version: bigint;
  /** ms since the epoch by the engine's clock; `undefined`: never. */
  readonly expiresAt: number | undefined;
}

export type Condition =
  /** The key is not there (or has expired). */
  | { readonly ifAbsent: true }
  /** The key is there, with exactly this version. */
  | { readonly ifVersion: bigint };

export type KeyValueChange =
  | {
      readonly type: "put";
      readonly key: string;
      readonly value: Uint8Array;
      /** From now; the key has none when it is left out. */
      readonly ttlMs?: number | undefined;
      readonly condition?: Condition | undefined;
    }
  /** Deleting an absent key without condition is no error and changes nothing. */
  | { readonly type: "delete"; readonly key: string; readonly condition?: Condition | undefined }
  | {
      /** Adds to a counter; an absent key counts as 0. Fails when the sum would leave [min, max]. */
      readonly type: "add";
      readonly key: string;
      /** A safe integer; so must the sum be (`invalid`). */
      readonly by: number;
      readonly min?: number | undefined;
      readonly max?: number | undefined;
      /** Only for a key that this change creates; an existing key keeps its own. */
      readonly ttlMs?: number | undefined;
      readonly condition?: Condition | undefined;
    }
  /** Changes nothing; the commit happens only if the condition holds. */
  | { readonly type: "check"; readonly key: string; readonly condition: Condition };

export type CommitResult =
  | {
      readonly committed: true;
      /** The version that every changed key has now. */
      readonly version: bigint;
      /** The new value for each `add`, at the change's index; `undefined` for the others. */
      readonly counters: readonly (number | undefined)[];
    }
  | {
      readonly committed: false;
      /** The index of the first change whose condition or bound failed. */
      readonly failed: number;
      readonly reason: "condition" | "bound";
      /** What the failed change met. */
      readonly current: KeyValueEntry | undefined;
    };

export interface ScanOptions {
  /** At most this many entries; 1,000 when left out. */
  readonly limit?: number | undefined;
  readonly after?: string | undefined;
}

export type WatchEvent =
  | { readonly type: "put"; readonly entry: KeyValueEntry }
  | { readonly type: "delete"; readonly key: string; readonly version: bigint }
  | { readonly type: "synced" };
