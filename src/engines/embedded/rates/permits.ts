import type { ConcurrencyRule, RateDecision } from "../../../contracts/rates.ts";
import { allowed, decodeNumbers, encodeNumbers, refused } from "../../shared/rates/outcomes.ts";
import type { EntryStore } from "../key-values/entry-store.ts";
import type { Effect } from "../key-values/key-value-records.ts";

interface Permit {
  readonly endsAt: number;
  readonly holdMs: number;
}

/** Who is inside under one key. */
class Inside {
  readonly permits = new Map<string, Permit>();
  /** No permit ends before; a permit that was given back may leave it too early, which costs one look in vain. */
  #endMin = Number.POSITIVE_INFINITY;

  set(permit: string, { endsAt, holdMs }: Permit): void {
    this.permits.set(permit, { endsAt, holdMs });
    this.#endMin = Math.min(this.#endMin, endsAt);
  }

  /** Drops those that have ended and answers their names. When the clock was set back, none stays for longer than it was given. */
  dropEnded(now: number): readonly string[] {
    if (now < this.#endMin) return [];
    return this.#look(now);
  }

  /** When the first of them ends by itself. */
  firstEnd(now: number): number {
    this.#look(now);
    return this.#endMin;
  }

  #look(now: number): readonly string[] {
    const ended: string[] = [];
    this.#endMin = Number.POSITIVE_INFINITY;
    for (const [name, { endsAt, holdMs }] of this.permits) {
      if (endsAt <= now) ended.push(name);
      else this.set(name, { endsAt: Math.min(endsAt, now + holdMs), holdMs });
    }
    for (const name of ended) this.permits.delete(name);
    return ended;
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

  enter(
    key: string,
    { limit, holdMs }: ConcurrencyRule,
    permit: string,
    now: number,
  ): { readonly decision: RateDecision; readonly effects: readonly Effect[] } {
    const inside = this.#inside(key);
    const effects: Effect[] = [];
    for (const ended of inside.dropEnded(now)) {
      if (ended !== permit) effects.push({ type: "delete", key: permitKey(key, ended) });
    }
    if (!inside.permits.has(permit) && inside.permits.size >= limit) {
      const retryAfterMs = inside.firstEnd(now) - now;
      return { decision: refused(limit - inside.permits.size, retryAfterMs), effects };
    }
    const endsAt = now + holdMs;
    inside.set(permit, { endsAt, holdMs });
    effects.push({
      type: "put",
      key: permitKey(key, permit),
      value: encodeNumbers([endsAt, holdMs]),
      expiresAt: endsAt,
    });
    return { decision: allowed(Math.max(0, limit - inside.permits.size)), effects };
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

const prefix = "rp";

/** `rp`, the length of the key in UTF-16 code units, a colon, the key, the permit. */
function permitKey(key: string, permit: string): string {
  return `${prefix}${key.length}:${key}${permit}`;
}

function parsePermitKey(entryKey: string): { readonly key: string; readonly permit: string } | undefined {
  if (!entryKey.startsWith(prefix)) return undefined;
  const colon = entryKey.indexOf(":");
  const keyEnd = colon + 1 + Number(entryKey.slice(prefix.length, colon));
  return { key: entryKey.slice(colon + 1, keyEnd), permit: entryKey.slice(keyEnd) };
}
