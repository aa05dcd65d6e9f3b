import type { TenonError } from "../../../contracts/errors.ts";
import type { KeyValueEntry, WatchEvent } from "../../../contracts/key-value.ts";
import type { StoredEntry } from "./key-value-records.ts";

/** A change of one key. A large value is loaded only when it is delivered. */
export type KeyChange =
  | { readonly type: "put"; readonly key: string; readonly entry: StoredEntry }
  | { readonly type: "delete"; readonly key: string; readonly version: bigint };

/**
 * One watcher: the state at its start, then changes, of which a slow reader gets only the last per key. A change that
 * comes again later moves to the end, so that what is delivered is in the order of versions.
 */
export class Watch {
  readonly prefix: string;
  readonly #since: number;
  readonly #changes = new Map<string, KeyChange>();
  #wake: (() => void) | undefined;
  #error: TenonError | undefined;

  /** `since`: the version of the state that it starts with. */
  constructor(prefix: string, since: number) {
    this.prefix = prefix;
    this.#since = since;
  }

  /** A durable change. */
  offer(change: KeyChange): void {
    if (!change.key.startsWith(this.prefix)) return;
    // It was made before the watch began and has become durable since: the state shows it.
    if ((change.type === "put" ? change.entry.version : change.version) <= this.#since) return;
    this.#changes.delete(change.key);
    this.#changes.set(change.key, change);
    this.wake();
  }

  fail(error: TenonError): void {
    this.#error = error;
    this.wake();
  }

  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  async *events(
    state: Promise<readonly StoredEntry[]>,
    load: (entry: StoredEntry) => Promise<KeyValueEntry | "superseded">,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<WatchEvent> {
    const abort = () => this.wake();
    signal?.addEventListener("abort", abort);
    try {
      for (const stored of await state) {
        if (signal?.aborted) return;
        const entry = await load(stored);
        // What superseded it has been offered, or will be when it is durable.
        if (entry !== "superseded") yield { type: "put", entry };
      }
      if (signal?.aborted) return;
      yield { type: "synced" };
      yield* this.#follow(load, signal);
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async *#follow(
    load: (entry: StoredEntry) => Promise<KeyValueEntry | "superseded">,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<WatchEvent> {
    while (!signal?.aborted) {
      const next = this.#changes.values().next();
      if (!next.done) {
        const change = next.value;
        this.#changes.delete(change.key);
        if (change.type === "delete") {
          yield change;
          continue;
        }
        const entry = await load(change.entry);
        if (entry !== "superseded") yield { type: "put", entry };
      } else if (this.#error !== undefined) throw this.#error;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
