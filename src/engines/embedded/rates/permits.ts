import type { ConcurrencyRule } from "../../../contracts/rates.ts";
import { allowed, decodeNumbers, encodeNumbers, refused } from "../../shared/rates/outcomes.ts";
import type { EntryStore } from "../key-values/entry-store.ts";
import type { Effect } from "../key-values/key-value-records.ts";
import type { Decided } from "./decided.ts";

interface Permit {
  readonly endsAt: number;
  readonly holdMs: number;
}

interface Looked {
  readonly ended: readonly string[];
  readonly shortened: ReadonlyMap<string, Permit>;
}

/** Who is inside under one key. */
class Inside {
  readonly permits = new Map<string, Permit>();
  /** The journal's batch of the last change. */
  batch = 0;
  /** No permit ends before; a permit that was given back may leave it too early, which costs one look in vain. */
  #endMin = Number.POSITIVE_INFINITY;

  set(permit: string, { endsAt, holdMs }: Permit): void {
    this.permits.set(permit, { endsAt, holdMs });
    this.#endMin = Math.min(this.#endMin, endsAt);
  }

  get endMin(): number {
    return this.#endMin;
  }

  /** Drops those that have ended. When the clock was set back, none stays for longer than it was given. Answers what that changed. */
  look(now: number): Looked {
    const ended: string[] = [];
    const shortened = new Map<string, Permit>();
    this.#endMin = Number.POSITIVE_INFINITY;
    for (const [name, permit] of this.permits) {
      const { endsAt, holdMs } = permit;
      if (endsAt <= now) ended.push(name);
      else if (endsAt <= now + holdMs) this.#endMin = Math.min(this.#endMin, endsAt);
      else shortened.set(name, { endsAt: now + holdMs, holdMs });
    }
    for (const [name, permit] of shortened) this.set(name, permit);
    for (const name of ended) this.permits.delete(name);
    return { ended, shortened };
  }
}

/** The permits of concurrency rules: an entry each, and an index of them in memory. */
export class Permits {
  readonly #states: EntryStore;
  readonly #keys = new Map<string, Inside>();

  constructor(states: EntryStore) {
    this.#states = states;
  }

  /** Everything is replayed. */
  start(): void {
    for (const { key, value } of this.#states.all()) {
      const parsed = parsePermitKey(key);
      if (parsed === undefined) continue;
      const [endsAt, holdMs] = decodeNumbers(value!);
      this.#inside(parsed.key).set(parsed.permit, { endsAt: endsAt!, holdMs: holdMs! });
    }
  }

  enter(key: string, { limit, holdMs }: ConcurrencyRule, permit: string, now: number): Decided {
    const inside = this.#inside(key);
    const isFull = () => !inside.permits.has(permit) && inside.permits.size >= limit;
    const changes = now >= inside.endMin || isFull() ? changesOf(key, inside.look(now)) : [];
    if (isFull()) {
      this.#commit(inside, changes);
      return { decision: refused(limit - inside.permits.size, inside.endMin - now), batch: inside.batch };
    }
    const entered = { endsAt: now + holdMs, holdMs };
    inside.set(permit, entered);
    const put = putOf(key, permit, entered);
    // What it did to this very permit must not be done after it has entered anew.
    this.#commit(inside, [...changes.filter((effect) => effect.key !== put.key), put]);
    return { decision: allowed(Math.max(0, limit - inside.permits.size)), batch: inside.batch };
  }

  leave(key: string, permit: string): readonly Effect[] {
    if (!this.#keys.get(key)?.permits.has(permit)) return [];
    this.#forget(key, permit);
    return [{ type: "delete", key: permitKey(key, permit) }];
  }

  reset(key: string): readonly Effect[] {
    const names = [...(this.#keys.get(key)?.permits.keys() ?? [])];
    this.#keys.delete(key);
    return names.map((permit) => ({ type: "delete", key: permitKey(key, permit) }));
  }

  /** An entry was deleted, or forgotten as its time has passed. */
  removed(entryKey: string): void {
    const parsed = parsePermitKey(entryKey);
    if (parsed !== undefined) this.#forget(parsed.key, parsed.permit);
  }

  #commit(inside: Inside, effects: readonly Effect[]): void {
    if (effects.length === 0) return;
    this.#states.commit(effects);
    inside.batch = this.#states.batch;
  }

  #inside(key: string): Inside {
    let inside = this.#keys.get(key);
    if (inside === undefined) {
      inside = new Inside();
      this.#keys.set(key, inside);
    }
    return inside;
  }

  #forget(key: string, permit: string): void {
    const inside = this.#keys.get(key);
    if (inside === undefined) return;
    inside.permits.delete(permit);
    if (inside.permits.size === 0) this.#keys.delete(key);
  }
}

/** What makes it last; an end that was shortened in memory alone would be far off again after a restart. */
function changesOf(key: string, { ended, shortened }: Looked): readonly Effect[] {
  const effects: Effect[] = ended.map((name) => ({ type: "delete", key: permitKey(key, name) }));
  for (const [name, permit] of shortened) effects.push(putOf(key, name, permit));
  return effects;
}

function putOf(key: string, name: string, { endsAt, holdMs }: Permit): Effect {
  const value = encodeNumbers([endsAt, holdMs]);
  return { type: "put", key: permitKey(key, name), value, expiresAt: endsAt };
}

const prefix = "rp";

export function isPermitKey(entryKey: string): boolean {
  return entryKey.startsWith(prefix);
}

/** `rp`, the length of the key in UTF-16 code units, a colon, the key, the permit. */
function permitKey(key: string, permit: string): string {
  return `${prefix}${key.length}:${key}${permit}`;
}

function parsePermitKey(entryKey: string): { readonly key: string; readonly permit: string } | undefined {
  if (!isPermitKey(entryKey)) return undefined;
  const colon = entryKey.indexOf(":");
  const keyEnd = colon + 1 + Number(entryKey.slice(prefix.length, colon));
  return { key: entryKey.slice(colon + 1, keyEnd), permit: entryKey.slice(keyEnd) };
}
