import type { KeyValueEngine, KeyValueEntry, WatchEvent } from "../../contracts/key-value.ts";
import { Violation } from "../system.ts";
import { type ClockReadings, rightClock } from "./clock-record.ts";
import { ms } from "./instants.ts";
import { type KeyValueOperation, tellEntry, textOfValue } from "./key-value-history.ts";

/**
 * One watch: what it told, and what its reader knows by now. It holds each event against the contract when it comes: first every present entry, then `synced`, then changes
 * in the order of their versions, each newer than what was told of its key before.
 */
export class WatchRecord {
  readonly watcher: string;
  readonly prefix: string;
  readonly #now: () => number;
  readonly #clock: ClockReadings;
  readonly #view = new Map<string, KeyValueEntry>();
  readonly #told = new Map<string, bigint>();
  readonly #puts: { readonly entry: KeyValueEntry; readonly atMs: number }[] = [];
  #synced = false;
  #lastVersion = 0n;

  /** `now`: virtual ms. `clock`: what the engine's clock showed. A key that had ended may come again when that was set back. */
  constructor(watcher: string, prefix: string, now: () => number, clock: ClockReadings = rightClock) {
    this.watcher = watcher;
    this.prefix = prefix;
    this.#now = now;
    this.#clock = clock;
  }

  /** Whether the reader has been told the whole state. */
  get synced(): boolean {
    return this.#synced;
  }

  /** What the reader takes for the present state. */
  get view(): ReadonlyMap<string, KeyValueEntry> {
    return this.#view;
  }

  /** What was told, and when. */
  get puts(): readonly { readonly entry: KeyValueEntry; readonly atMs: number }[] {
    return this.#puts;
  }

  /** Whether keys with a time to live may have ended for some and not for others. */
  get uncertainEnds(): boolean {
    return this.#clock.setBacks(0, this.#now()) > 0;
  }

  /** Throws a `Violation` when the event does not fit what was told before. */
  tell(event: WatchEvent): void {
    if (event.type === "synced") {
      if (this.#synced) throw this.#wrong("was told twice that it is synced");
      this.#synced = true;
      return;
    }
    const key = event.type === "put" ? event.entry.key : event.key;
    const version = event.type === "put" ? event.entry.version : event.version;
    const returns = event.type === "put" && event.entry.expiresAt !== undefined && this.uncertainEnds;
    if (!returns) this.#checkOrder(event.type, key, version);
    this.#told.set(key, version);
    if (event.type === "delete") this.#view.delete(key);
    else {
      this.#view.set(key, event.entry);
      this.#puts.push({ entry: event.entry, atMs: this.#now() });
    }
  }

  #checkOrder(type: "put" | "delete", key: string, version: bigint): void {
    const what = `the ${type} of ${JSON.stringify(key)} in version ${version}`;
    if (!key.startsWith(this.prefix)) throw this.#wrong(`was told ${what}, which is not under its prefix`);
    const before = this.#told.get(key);
    // A delete that was missed in an outage has the greatest version that was seen by then, and may be told again when the end of a time to live is recorded.
    if (before !== undefined && (type === "put" ? version <= before : version < before)) {
      throw this.#wrong(`was told ${what} after version ${before} of the same key`);
    }
    if (!this.#synced) {
      if (type === "delete") throw this.#wrong(`was told ${what} before it was synced`);
      return;
    }
    if (version < this.#lastVersion)
      throw this.#wrong(`was told ${what} after the change of version ${this.#lastVersion}`);
    this.#lastVersion = version;
  }

  #wrong(what: string): Violation {
    return new Violation(`${this.watcher}, watching ${JSON.stringify(this.prefix)}, ${what}, at ${ms(this.#now())}`);
  }
}

/** Reads a watch into the record until it ends. Rejects as the watch does, and with a `Violation` for what does not fit. */
export async function readWatch(
  keyValue: KeyValueEngine,
  record: WatchRecord,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  for await (const event of keyValue.watch(record.prefix, options)) record.tell(event);
}

/** At rest: what every watch tells is what is stored; `stored` is a full scan of its prefix. */
export function checkWatchAtRest(watch: WatchRecord, stored: readonly KeyValueEntry[]): void {
  const { view, prefix } = watch;
  const who = `${watch.watcher}, watching ${JSON.stringify(prefix)},`;
  if (!watch.synced) throw new Violation(`${who} was never told that it is synced, although everything is at rest`);
  for (const entry of stored) {
    const shown = view.get(entry.key);
    if (shown === undefined && entry.expiresAt !== undefined && watch.uncertainEnds) continue;
    if (shown !== undefined && shown.version === entry.version && sameValue(shown, entry)) continue;
    throw new Violation(
      `${who} knows ${tellEntry(shown)} where ${tellEntry(entry)} is stored, although everything is at rest`,
    );
  }
  const present = new Set(stored.map(({ key }) => key));
  const gone = [...view.values()].find(
    ({ key, expiresAt }) => !present.has(key) && !(expiresAt !== undefined && watch.uncertainEnds),
  );
  if (gone !== undefined) {
    throw new Violation(
      `${who} still knows ${tellEntry(gone)}, which is not stored any more, although everything is at rest`,
    );
  }
}

/** What a watch told had been written, and not before it was asked for. */
export function checkWatchedValues(watch: WatchRecord, operations: readonly KeyValueOperation[]): void {
  const commits: KeyValueOperation[] = [];
  for (const operation of operations) {
    if (operation.input.type !== "commit") continue;
    const { output } = operation;
    if (output === undefined || (output.type === "result" && output.result.committed)) commits.push(operation);
  }
  for (const { entry, atMs } of watch.puts) {
    if (commits.some((commit) => commit.calledAt <= atMs && mayHaveWritten(commit, entry))) continue;
    throw new Violation(
      `${watch.watcher}, watching ${JSON.stringify(watch.prefix)}, was told ${tellEntry(entry)} at ${ms(atMs)}, which no commit had written by then`,
    );
  }
}

function mayHaveWritten({ input, output }: KeyValueOperation, { key, value, version }: KeyValueEntry): boolean {
  if (input.type !== "commit") return false;
  if (output?.type === "result" && output.result.committed && output.result.version !== version) return false;
  const index = input.changes.findIndex((change) => change.key === key);
  const change = input.changes[index];
  if (change?.type === "put") return textOfValue(change.value) === textOfValue(value);
  if (change?.type !== "add") return false;
  if (output?.type !== "result" || !output.result.committed) return true;
  return textOfValue(value) === String(output.result.counters[index]);
}

function sameValue(one: KeyValueEntry, other: KeyValueEntry): boolean {
  return textOfValue(one.value) === textOfValue(other.value);
}
