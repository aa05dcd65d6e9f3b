import type { Condition, KeyValueChange, KeyValueEntry } from "../../contracts/key-value.ts";
import type { ClockReadings } from "./clock-record.ts";
import { groupsOf } from "./key-value-groups.ts";
import {
  type KeyValueInput,
  type KeyValueOperation,
  type KeyValueOutput,
  tellEntry,
  textOfValue,
} from "./key-value-history.ts";
import { type Effects, type HeldEnd, type HeldValue, KeyValueState } from "./key-value-state.ts";
import type { SequentialModel } from "./linearizability.ts";

type Answered = KeyValueOutput | undefined;
type Entries = Extract<KeyValueOutput, { type: "entries" }>["entries"];

/**
 * What the contract says of key-values whose operations come one after the other.
 *
 * A key with a time to live is surely there until the engine's clock has once shown its end, and surely gone when the clock has shown nothing but later instants for the declared lateness. In
 * between each operation by itself may find it or not; and also later, when the clock was set back behind the end.
 */
export function keyValueModel(
  clock: ClockReadings,
  expiryLatenessMs: number,
): SequentialModel<KeyValueState, KeyValueInput, KeyValueOutput> {
  return new KeyValueModel(clock, expiryLatenessMs);
}

class KeyValueModel implements SequentialModel<KeyValueState, KeyValueInput, KeyValueOutput> {
  readonly initial = KeyValueState.empty;
  readonly #clock: ClockReadings;
  readonly #latenessMs: number;

  constructor(clock: ClockReadings, latenessMs: number) {
    this.#clock = clock;
    this.#latenessMs = latenessMs;
  }

  apply(state: KeyValueState, operation: KeyValueOperation): readonly KeyValueState[] {
    const { input } = operation;
    if (input.type === "commit") return new Evaluation(this, operation, input.changes).from(state);
    const { output } = operation;
    if (output === undefined) return [state];
    const entries = (output as Extract<KeyValueOutput, { type: "entries" }>).entries;
    const after =
      input.type === "get"
        ? this.#got(state, operation, input.keys, entries)
        : this.#scanned(state, operation, input, entries);
    return after === undefined ? [] : [after];
  }

  #got(
    state: KeyValueState,
    operation: KeyValueOperation,
    keys: readonly string[],
    entries: Entries,
  ): KeyValueState | undefined {
    let after: KeyValueState | undefined = state;
    for (let index = 0; index < keys.length && after !== undefined; index++) {
      after = this.shown(after, operation, keys[index]!, entries[index]);
    }
    return after;
  }

  #scanned(
    state: KeyValueState,
    operation: KeyValueOperation,
    { prefix, after, limit }: Extract<KeyValueInput, { type: "scan" }>,
    entries: Entries,
  ): KeyValueState | undefined {
    const shown = new Map(entries.map((entry) => [entry!.key, entry]));
    // A full answer says nothing of what comes after it.
    const lastKey = entries.length < limit ? undefined : entries.at(-1)!.key;
    const inRange = (key: string) =>
      key.startsWith(prefix) && (after === undefined || key > after) && (lastKey === undefined || key <= lastKey);
    let seen: KeyValueState | undefined = state;
    for (const key of [...state.entries.keys(), ...shown.keys()]) {
      if (!inRange(key)) {
        if (shown.has(key)) return undefined;
        continue;
      }
      seen = seen && this.shown(seen, operation, key, shown.get(key));
    }
    return seen;
  }

  /** The state when the operation is shown this entry under the key, or that there is none; nothing when it cannot be. */
  shown(
    state: KeyValueState,
    operation: KeyValueOperation,
    key: string,
    entry: KeyValueEntry | undefined,
  ): KeyValueState | undefined {
    const held = state.entries.get(key);
    if (entry === undefined) return held === undefined || this.mayBeGone(held, operation) ? state : undefined;
    if (entry.key !== key || held === undefined || !this.mayBeThere(held, operation)) return undefined;
    return state.seen(entry);
  }

  mayBeGone({ end }: HeldValue, { returnedAt }: KeyValueOperation): boolean {
    if (end === undefined) return false;
    return this.#clock.between(end.since, returnedAt ?? Number.POSITIVE_INFINITY).max >= end.min;
  }

  mayBeThere({ end }: HeldValue, { calledAt, returnedAt }: KeyValueOperation): boolean {
    if (end === undefined) return true;
    const until = returnedAt ?? Number.POSITIVE_INFINITY;
    return this.#clock.between(calledAt - this.#latenessMs, until).min < end.max;
  }

  endOf(ttlMs: number | undefined, { calledAt, returnedAt }: KeyValueOperation): HeldEnd | undefined {
    if (ttlMs === undefined) return undefined;
    const { min, max } = this.#clock.between(calledAt, returnedAt ?? Number.POSITIVE_INFINITY);
    return { min: min + ttlMs, max: max + ttlMs, since: calledAt };
  }

  keyOf(state: KeyValueState): string {
    return state.key;
  }

  partition(operations: readonly KeyValueOperation[]): readonly (readonly KeyValueOperation[])[] {
    return groupsOf(operations);
  }

  changes({ input, output }: KeyValueOperation): boolean {
    return input.type === "commit" && !(output?.type === "result" && !output.result.committed);
  }

  rankOf({ input, output }: KeyValueOperation): bigint | undefined {
    if (input.type !== "commit" || output?.type !== "result" || !output.result.committed) return undefined;
    // A commit that changes nothing has the version of the one before it.
    return input.changes.some(({ type }) => type === "put" || type === "add") ? output.result.version : undefined;
  }

  describe({ input, output }: KeyValueOperation): string {
    return `${describeInput(input)} (${describeOutput(output)})`;
  }

  describeState(state: KeyValueState, { input }: KeyValueOperation): string {
    const keys =
      input.type === "get"
        ? input.keys
        : input.type === "commit"
          ? input.changes.map(({ key }) => key)
          : [...state.entries.keys()].filter((key) => key.startsWith(input.prefix)).sort();
    return keys.length === 0 ? "no keys" : keys.map((key) => state.tell(key)).join(", ");
  }
}

/** How far a commit has been looked at. */
interface Looked {
  readonly state: KeyValueState;
  readonly effects: Effects;
}

/** One commit against one state: in how many ways it can have gone. */
class Evaluation {
  readonly #model: KeyValueModel;
  readonly #operation: KeyValueOperation;
  readonly #changes: readonly KeyValueChange[];
  readonly #answered: Answered;

  constructor(model: KeyValueModel, operation: KeyValueOperation, changes: readonly KeyValueChange[]) {
    this.#model = model;
    this.#operation = operation;
    this.#changes = changes;
    this.#answered = operation.output;
  }

  from(state: KeyValueState): readonly KeyValueState[] {
    const result = this.#answered?.type === "result" ? this.#answered.result : undefined;
    if (result !== undefined && !result.committed) return this.#failed(state, result);
    const after: KeyValueState[] = [];
    for (const { state: met, effects } of this.#passed(state, this.#changes.length)) {
      const changed = met.changed(effects, result?.version);
      if (changed !== undefined) after.push(changed);
    }
    // It may also have failed.
    if (result === undefined) after.push(state);
    return after;
  }

  #failed(
    state: KeyValueState,
    {
      failed,
      reason,
      current,
    }: { readonly failed: number; readonly reason: string; readonly current: KeyValueEntry | undefined },
  ): readonly KeyValueState[] {
    const change = this.#changes[failed]!;
    const after: KeyValueState[] = [];
    for (const partial of this.#passed(state, failed)) {
      const met = this.#model.shown(partial.state, this.#operation, change.key, current);
      if (met === undefined) continue;
      const held = current === undefined ? undefined : met.entries.get(change.key);
      if (this.#outcomeOf(change, held) === reason) after.push(met);
    }
    return after;
  }

  /** The ways in which the first `count` changes can all have passed. */
  #passed(state: KeyValueState, count: number): readonly Looked[] {
    let partials: Looked[] = [{ state, effects: new Map() }];
    for (let index = 0; index < count; index++) {
      const change = this.#changes[index]!;
      partials = partials.flatMap((partial) => this.#ways(partial, change, index));
    }
    return partials;
  }

  #ways({ state, effects }: Looked, change: KeyValueChange, index: number): Looked[] {
    const ways: Looked[] = [];
    for (const [met, held] of this.#meetings(state, change)) {
      const outcome = this.#outcomeOf(change, held);
      if (outcome === "condition" || outcome === "bound" || !this.#answersCounter(index, outcome)) continue;
      const after = new Map(effects);
      if (outcome === "deleted") after.set(change.key, undefined);
      else if (outcome !== "unchanged") after.set(change.key, outcome);
      ways.push({ state: met, effects: after });
    }
    return ways;
  }

  /** What the change may find under its key. */
  *#meetings(
    state: KeyValueState,
    { key, condition }: KeyValueChange,
  ): Generator<[KeyValueState, HeldValue | undefined]> {
    const held = state.entries.get(key);
    if (held === undefined || this.#model.mayBeGone(held, this.#operation)) yield [state, undefined];
    if (held === undefined || !this.#model.mayBeThere(held, this.#operation)) return;
    if (condition !== undefined && "ifVersion" in condition && held.version === undefined) {
      const known = state.withVersion(key, condition.ifVersion);
      if (known !== undefined) yield [known, known.entries.get(key)];
    }
    yield [state, held];
  }

  #outcomeOf(
    change: KeyValueChange,
    held: HeldValue | undefined,
  ): "condition" | "bound" | "unchanged" | "deleted" | { readonly value: string; readonly end: HeldEnd | undefined } {
    if (change.condition !== undefined && !holds(change.condition, held)) return "condition";
    const end = "ttlMs" in change ? this.#model.endOf(change.ttlMs, this.#operation) : undefined;
    switch (change.type) {
      case "check":
        return "unchanged";
      case "delete":
        return held === undefined ? "unchanged" : "deleted";
      case "put":
        return { value: textOfValue(change.value), end };
      case "add": {
        const sum = Number(held?.value ?? "0") + change.by;
        // What is no counter is refused, so that nothing is committed.
        if (!Number.isSafeInteger(sum)) return "condition";
        if (sum < (change.min ?? -Infinity) || sum > (change.max ?? Infinity)) return "bound";
        return { value: String(sum), end: held === undefined ? end : held.end };
      }
    }
  }

  #answersCounter(index: number, outcome: "unchanged" | "deleted" | { readonly value: string }): boolean {
    if (this.#answered?.type !== "result" || !this.#answered.result.committed) return true;
    if (this.#changes[index]!.type !== "add") return true;
    const answered = this.#answered.result.counters[index];
    return answered === undefined || (typeof outcome === "object" && answered === Number(outcome.value));
  }
}

function holds(condition: Condition, held: HeldValue | undefined): boolean {
  if ("ifAbsent" in condition) return held === undefined;
  return held !== undefined && held.version === condition.ifVersion;
}

function describeInput(input: KeyValueInput): string {
  if (input.type === "get") return `get of ${input.keys.map((key) => JSON.stringify(key)).join(", ")}`;
  if (input.type === "scan") return `scan of ${JSON.stringify(input.prefix)}`;
  return `commit of ${input.changes.map(describeChange).join(", ")}`;
}

function describeChange(change: KeyValueChange): string {
  const key = JSON.stringify(change.key);
  const { condition } = change;
  const when =
    condition === undefined ? "" : "ifAbsent" in condition ? " if absent" : ` if in version ${condition.ifVersion}`;
  if (change.type === "put") return `put ${key}${change.ttlMs === undefined ? "" : ` for ${change.ttlMs} ms`}${when}`;
  if (change.type === "add") return `add ${change.by} to ${key}${when}`;
  return `${change.type} ${key}${when}`;
}

function describeOutput(output: Answered): string {
  if (output === undefined) return "unanswered";
  if (output.type === "entries") {
    return output.entries.length === 0 ? "answered nothing" : `answered ${output.entries.map(tellEntry).join(", ")}`;
  }
  const { result } = output;
  if (result.committed) return `answered version ${result.version}`;
  return `answered ${result.reason} failed at change ${result.failed}, meeting ${tellEntry(result.current)}`;
}
