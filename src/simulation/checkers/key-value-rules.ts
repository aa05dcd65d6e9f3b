import type { KeyValueChange, KeyValueEntry } from "../../contracts/key-value.ts";
import { Violation } from "../system.ts";
import { type ClockReadings, rightClock } from "./clock-record.ts";
import { ms } from "./instants.ts";
import { groupsOf } from "./key-value-groups.ts";
import type { KeyValueOperation } from "./key-value-history.ts";
import { keyValueModel } from "./key-value-model.ts";
import { shownBy, witnessed } from "./key-value-witnesses.ts";
import { type LinearizabilityOptions, requireLinearizable } from "./linearizability.ts";

export interface KeyValueRules extends LinearizabilityOptions {
  /** What the engine's clock showed; the virtual time itself when left out. */
  readonly clock?: ClockReadings | undefined;
  /** The engine's `capabilities.expiryLatenessMs`. */
  readonly expiryLatenessMs: number;
}

/**
 * Holds what clients asked of key-values and were answered against the contract, and throws a `Violation` for what does not fit:
 *
 * - versions grow from commit to later commit, over all keys, and no two commits have the same;
 * - what was written is there until it is overwritten, deleted or its time to live has ended, and no longer than the declared lateness after that;
 * - all of it has one order: commits are linearizable, each with its conditions, bounds and counters, all or nothing; what is read was so at one instant.
 *
 * Ends are judged by the engine's clock. A key may be gone as soon as the clock has once shown its end; it must be when the clock has shown nothing but later instants for the declared lateness. So a
 * clock that is set ahead ends keys at once, and one that is set back makes it uncertain whether what had ended is there.
 */
export function checkKeyValues(operations: readonly KeyValueOperation[], rules: KeyValueRules): void {
  const { clock = rightClock, expiryLatenessMs } = rules;
  checkVersions(operations);
  checkTimesToLive(operations, { clock, expiryLatenessMs });
  const model = keyValueModel(clock, expiryLatenessMs);
  for (const group of groupsOf(operations)) requireLinearizable(model, witnessed(group), rules);
}

/** Versions come from one counter: each commit that changed something has a greater one than all commits that had returned before it was called. */
export function checkVersions(operations: readonly KeyValueOperation[]): void {
  const written = operations.filter((each) => versionOf(each) !== undefined && surelyChanges(each));
  const byVersion = new Map<bigint, KeyValueOperation>();
  for (const operation of written) {
    const same = byVersion.get(versionOf(operation)!);
    if (same !== undefined) throw twice(same, operation);
    byVersion.set(versionOf(operation)!, operation);
  }
  const returned = written.toSorted((a, b) => a.returned! - b.returned!);
  let greatest: KeyValueOperation | undefined;
  let next = 0;
  for (const operation of written.toSorted((a, b) => a.called - b.called)) {
    for (; returned[next]!.returned! < operation.called; next++) {
      if (greatest === undefined || versionOf(returned[next]!)! > versionOf(greatest)!) greatest = returned[next];
    }
    if (greatest === undefined || versionOf(operation)! > versionOf(greatest)!) continue;
    throw new Violation(
      `${told(operation)} has version ${versionOf(operation)}, although ${told(greatest)}, which had returned before, has ${versionOf(greatest)}`,
    );
  }
}

function twice(one: KeyValueOperation, other: KeyValueOperation): Violation {
  return new Violation(`version ${versionOf(one)} was given twice: to ${told(one)} and to ${told(other)}`);
}

/** Nothing ends early, or is seen later than declared. */
export function checkTimesToLive(operations: readonly KeyValueOperation[], rules: KeyValueRules): void {
  const { clock = rightClock, expiryLatenessMs } = rules;
  const writes = new Writes(operations);
  for (const operation of operations) {
    for (const entry of shownBy(operation)) {
      checkNotLate(operation, entry, clock, expiryLatenessMs);
      checkEnd(writes, operation, entry, clock);
    }
    for (const key of missedBy(operation)) checkNotEarly(writes, operation, key, clock);
  }
}

function checkNotLate(
  operation: KeyValueOperation,
  entry: KeyValueEntry,
  clock: ClockReadings,
  latenessMs: number,
): void {
  const { key, version, expiresAt } = entry;
  if (expiresAt === undefined) return;
  const { min } = clock.between(operation.calledAt - latenessMs, operation.returnedAt!);
  if (min < expiresAt) return;
  throw new Violation(
    `${JSON.stringify(key)} in version ${version} was shown to ${told(operation)}, although it had ended at ${expiresAt} by the engine's clock, which had shown at least ${ms(min)} for the ${latenessMs} ms that it may be late`,
  );
}

function checkEnd(
  writes: Writes,
  operation: KeyValueOperation,
  { key, version, expiresAt }: KeyValueEntry,
  clock: ClockReadings,
): void {
  const write = writes.of(version, key);
  if (write?.change.type !== "put") return;
  const { change, operation: commit } = write;
  const { min, max } = clock.between(commit.calledAt, commit.returnedAt!);
  const { ttlMs } = change;
  if (ttlMs === undefined ? expiresAt === undefined : expiresAt! >= min + ttlMs && expiresAt! <= max + ttlMs) return;
  const wanted = ttlMs === undefined ? "never" : `between ${ms(min + ttlMs)} and ${ms(max + ttlMs)}`;
  throw new Violation(
    `${JSON.stringify(key)} in version ${version} ends at ${expiresAt} as ${told(operation)} saw it, although by ${told(commit)} it ends ${wanted}`,
  );
}

/** Where only one commit can have written the key last, it must be there until its end. */
function checkNotEarly(writes: Writes, operation: KeyValueOperation, key: string, clock: ClockReadings): void {
  const last = writes.lastBefore(key, operation);
  if (last === undefined || last.change.type !== "put") return;
  const { change, operation: commit } = last;
  const end = clock.between(commit.calledAt, commit.returnedAt!).min + (change.ttlMs ?? Number.POSITIVE_INFINITY);
  const { max } = clock.between(commit.calledAt, operation.returnedAt!);
  if (max >= end) return;
  const why =
    change.ttlMs === undefined
      ? "has no time to live"
      : `lives until ${ms(end)} at least by the engine's clock, which had shown at most ${ms(max)}`;
  throw new Violation(
    `${JSON.stringify(key)} was not there for ${told(operation)}, although ${told(commit)} had written version ${versionOf(commit)} of it, which nobody replaced and which ${why}`,
  );
}

interface Write {
  readonly operation: KeyValueOperation;
  readonly change: KeyValueChange;
}

/** Who wrote what, as far as it is known. */
class Writes {
  readonly #byKey = new Map<string, Write[]>();
  readonly #byVersion = new Map<string, Write>();

  constructor(operations: readonly KeyValueOperation[]) {
    for (const operation of operations) {
      const { input } = operation;
      if (input.type !== "commit" || mayNotHaveHappened(operation)) continue;
      for (const change of input.changes) if (change.type !== "check") this.#add({ operation, change });
    }
  }

  #add(write: Write): void {
    const { key } = write.change;
    const writes = this.#byKey.get(key);
    if (writes === undefined) this.#byKey.set(key, [write]);
    else writes.push(write);
    const version = versionOf(write.operation);
    if (version !== undefined && write.change.type !== "delete") this.#byVersion.set(`${version} ${key}`, write);
  }

  of(version: bigint, key: string): Write | undefined {
    return this.#byVersion.get(`${version} ${key}`);
  }

  /** The one write that had returned before the operation was called and that no other one can have followed, or been in step with, before it returned. */
  lastBefore(key: string, operation: KeyValueOperation): Write | undefined {
    const writes = (this.#byKey.get(key) ?? []).filter(({ operation: { called } }) => called < operation.returned!);
    let last: Write | undefined;
    for (const write of writes) {
      const { returned } = write.operation;
      if (returned === undefined || returned > operation.called) continue;
      if (last === undefined || returned > last.operation.returned!) last = write;
    }
    const alone = (write: Write) =>
      write === last || (write.operation.returned !== undefined && write.operation.returned < last!.operation.called);
    return last !== undefined && writes.every(alone) ? last : undefined;
  }
}

function versionOf({ output }: KeyValueOperation): bigint | undefined {
  return output?.type === "result" && output.result.committed ? output.result.version : undefined;
}

function mayNotHaveHappened({ output }: KeyValueOperation): boolean {
  return output?.type === "result" && !output.result.committed;
}

function surelyChanges({ input }: KeyValueOperation): boolean {
  return input.type === "commit" && input.changes.some(({ type }) => type === "put" || type === "add");
}

function missedBy({ input, output }: KeyValueOperation): readonly string[] {
  if (input.type !== "get" || output?.type !== "entries") return [];
  return input.keys.filter((_, index) => output.entries[index] === undefined);
}

function told({ client, input, calledAt, returnedAt }: KeyValueOperation): string {
  return `the ${input.type} by ${client} between ${ms(calledAt)} and ${ms(returnedAt!)}`;
}
