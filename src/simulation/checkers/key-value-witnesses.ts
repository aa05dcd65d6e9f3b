import type { KeyValueChange, KeyValueEntry } from "../../contracts/key-value.ts";
import { type KeyValueOperation, textOfValue } from "./key-value-history.ts";

/**
 * What is known of commits that nobody was told of:
 *
 * - one whose value somebody was shown has happened, in that version, before whoever was shown it returned;
 * - one that puts a key of its own, without a time to live, has not happened before whoever found that key absent was called;
 * - one that puts a key of its own, without a time to live, has happened for nobody when all that returned after such a finding found it absent, too;
 * - one that only puts values without a time to live, which nobody was shown, may as well not have happened: whoever would have met it would have been shown it.
 *
 * It spares the search for an order most of its choices. Values must be told apart for that: one that is written twice under its key says nothing.
 */
export function witnessed(operations: readonly KeyValueOperation[]): readonly KeyValueOperation[] {
  const evidence = new Evidence(operations);
  const known: KeyValueOperation[] = [];
  for (const operation of operations) {
    const { input, returned } = operation;
    if (returned !== undefined || input.type !== "commit") known.push(operation);
    else if (evidence.sightingOf(input.changes) !== undefined) known.push(evidence.asSeen(operation, input.changes));
    else if (!evidence.isWithoutTrace(input.changes)) {
      const missed = evidence.asMissed(operation, input.changes);
      if (missed !== undefined) known.push(missed);
    }
  }
  return known;
}

interface Sighting {
  readonly version: bigint;
  readonly by: KeyValueOperation;
}

class Evidence {
  /** By key and value: the sighting that returned first. */
  readonly #sightings = new Map<string, Sighting>();
  /** How many commits write it. */
  readonly #writers = new Map<string, number>();
  readonly #counters = new Set<string>();
  /** By key: how many commits write or delete it. */
  readonly #changers = new Map<string, number>();
  /** What returned, the last one first. */
  readonly #returned: readonly KeyValueOperation[];
  /** Versions that somebody compared with, and that nobody was shown: so somebody knows more than the history does. */
  readonly #unseenVersions: boolean;

  constructor(operations: readonly KeyValueOperation[]) {
    this.#returned = operations
      .filter(({ returned }) => returned !== undefined)
      .sort((one, other) => other.returned! - one.returned!);
    const versions = new Set<bigint>();
    const compared = new Set<bigint>();
    for (const operation of operations) {
      for (const entry of shownBy(operation)) {
        versions.add(entry.version);
        this.#see(entry, operation);
      }
      const { input, output } = operation;
      if (output?.type === "result" && output.result.committed) versions.add(output.result.version);
      if (input.type !== "commit") continue;
      for (const change of input.changes) {
        if (change.type !== "check") this.#changers.set(change.key, (this.#changers.get(change.key) ?? 0) + 1);
        if (change.condition !== undefined && "ifVersion" in change.condition) compared.add(change.condition.ifVersion);
        if (change.type === "add") this.#counters.add(change.key);
        if (change.type === "put") {
          const name = nameOf(change.key, change.value);
          this.#writers.set(name, (this.#writers.get(name) ?? 0) + 1);
        }
      }
    }
    this.#unseenVersions = [...compared].some((version) => !versions.has(version));
  }

  #see(entry: KeyValueEntry, by: KeyValueOperation): void {
    const name = nameOf(entry.key, entry.value);
    const known = this.#sightings.get(name);
    if (known === undefined || by.returned! < known.by.returned!)
      this.#sightings.set(name, { version: entry.version, by });
  }

  /** The operation, called no earlier than the last one that found a key absent which is its own; nothing when it can have come before nobody. */
  asMissed(operation: KeyValueOperation, changes: readonly KeyValueChange[]): KeyValueOperation | undefined {
    let { called } = operation;
    for (const change of changes) {
      if (change.type !== "put" || change.ttlMs !== undefined || this.#changers.get(change.key) !== 1) continue;
      for (const looker of this.#returned) if (misses(looker, change.key)) called = Math.max(called, looker.called);
      const after = this.#returned.filter(({ returned }) => returned! > called);
      if (called > operation.called && after.every((looker) => misses(looker, change.key))) return undefined;
    }
    return called === operation.called ? operation : { ...operation, called };
  }

  sightingOf(changes: readonly KeyValueChange[]): Sighting | undefined {
    let first: Sighting | undefined;
    for (const change of changes) {
      if (change.type !== "put" || this.#counters.has(change.key)) continue;
      const name = nameOf(change.key, change.value);
      const sighting = this.#writers.get(name) === 1 ? this.#sightings.get(name) : undefined;
      if (sighting !== undefined && (first === undefined || sighting.by.returned! < first.by.returned!))
        first = sighting;
    }
    return first;
  }

  asSeen(operation: KeyValueOperation, changes: readonly KeyValueChange[]): KeyValueOperation {
    const { version, by } = this.sightingOf(changes)!;
    return {
      ...operation,
      client: `${operation.client} (never answered, but shown to ${by.client})`,
      output: { type: "result", result: { committed: true, version, counters: [] } },
      returned: by.returned,
      returnedAt: by.returnedAt,
    };
  }

  isWithoutTrace(changes: readonly KeyValueChange[]): boolean {
    if (this.#unseenVersions) return false;
    return changes.every(
      (change) =>
        change.type === "check" ||
        (change.type === "put" &&
          change.ttlMs === undefined &&
          !this.#counters.has(change.key) &&
          this.#isUnique(change)),
    );
  }

  #isUnique({ key, value }: Extract<KeyValueChange, { type: "put" }>): boolean {
    return this.#writers.get(nameOf(key, value)) === 1;
  }
}

/** Whether the operation found the key absent. */
function misses({ input, output }: KeyValueOperation, key: string): boolean {
  if (output?.type !== "entries") return false;
  const { entries } = output;
  if (input.type === "get") return input.keys.some((asked, index) => asked === key && entries[index] === undefined);
  if (input.type !== "scan") return false;
  const { prefix, after, limit } = input;
  const reaches = entries.length < limit || key <= entries.at(-1)!.key;
  const covers = key.startsWith(prefix) && (after === undefined || key > after) && reaches;
  return covers && !entries.some((entry) => entry?.key === key);
}

function nameOf(key: string, value: Uint8Array): string {
  return `${key.length}:${key}${textOfValue(value)}`;
}

export function shownBy({ output }: KeyValueOperation): readonly KeyValueEntry[] {
  if (output === undefined) return [];
  if (output.type === "entries") return output.entries.filter((entry) => entry !== undefined);
  const { result } = output;
  return result.committed || result.current === undefined ? [] : [result.current];
}
