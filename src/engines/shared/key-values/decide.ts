import { TenonError } from "../../../contracts/errors.ts";
import type { CommitResult, Condition, KeyValueChange, KeyValueEntry } from "../../../contracts/key-value.ts";

/** What a commit makes of a key; `value` is `undefined` when it deletes it. */
export interface KeyEffect {
  readonly key: string;
  readonly value: Uint8Array | undefined;
  readonly expiresAt: number | undefined;
}

export interface Decided {
  /** Without effects, `version` is 0 until the caller knows better. */
  readonly result: CommitResult;
  readonly effects: readonly KeyEffect[];
}

/**
 * What a commit does that meets these entries (absent: `undefined`) at this instant, for engines that decide under a lock. `version`: what its keys get. Throws `invalid` where an add meets what is no
 * counter.
 */
export function decideCommit(
  changes: readonly KeyValueChange[],
  find: (key: string) => KeyValueEntry | undefined,
  now: number,
  version: bigint,
): Decided {
  const effects: KeyEffect[] = [];
  const counters: (number | undefined)[] = [];
  for (const [failed, change] of changes.entries()) {
    const current = find(change.key);
    const reason = evaluate(change, current, now, effects, counters);
    if (reason !== undefined) return { result: { committed: false, failed, reason, current }, effects: [] };
  }
  return { result: { committed: true, version, counters }, effects };
}

function evaluate(
  change: KeyValueChange,
  current: KeyValueEntry | undefined,
  now: number,
  effects: KeyEffect[],
  counters: (number | undefined)[],
): "condition" | "bound" | undefined {
  const { key, condition } = change;
  if (condition !== undefined && !holds(condition, current)) return "condition";
  if (change.type === "add") {
    const sum = counterOf(key, current) + change.by;
    if (!Number.isSafeInteger(sum)) {
      throw new TenonError("invalid", `the counter ${key} would leave the range of safe integers`, { fields: { key } });
    }
    if (sum < (change.min ?? Number.NEGATIVE_INFINITY) || sum > (change.max ?? Number.POSITIVE_INFINITY))
      return "bound";
    const expiresAt = current === undefined ? endOf(change.ttlMs, now) : current.expiresAt;
    effects.push({ key, value: Buffer.from(String(sum), "latin1"), expiresAt });
    counters.push(sum);
    return undefined;
  }
  counters.push(undefined);
  if (change.type === "put") effects.push({ key, value: change.value, expiresAt: endOf(change.ttlMs, now) });
  else if (change.type === "delete" && current !== undefined)
    effects.push({ key, value: undefined, expiresAt: undefined });
  return undefined;
}

function holds(condition: Condition, current: KeyValueEntry | undefined): boolean {
  return "ifAbsent" in condition ? current === undefined : current?.version === condition.ifVersion;
}

function endOf(ttlMs: number | undefined, now: number): number | undefined {
  return ttlMs === undefined || ttlMs === Number.POSITIVE_INFINITY ? undefined : now + ttlMs;
}

function counterOf(key: string, entry: KeyValueEntry | undefined): number {
  if (entry === undefined) return 0;
  const text = entry.value.length > 17 ? "" : Buffer.from(entry.value).toString("latin1");
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw new TenonError("invalid", `the value of ${key} is no counter; add works on decimal digits only`, {
    fields: { key },
  });
}
