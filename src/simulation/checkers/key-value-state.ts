import type { KeyValueEntry } from "../../contracts/key-value.ts";
import { tellValue, textOfValue } from "./key-value-history.ts";

/** What a key holds, as far as it is known. */
export interface HeldValue {
  readonly value: string;
  /** Which commit wrote it, by its place among those that changed something. */
  readonly order: number;
  /** `undefined`: nobody has seen it yet, and it lies between the two bounds, which are not in. */
  readonly version: bigint | undefined;
  readonly above: bigint;
  readonly below: bigint | undefined;
  readonly end: HeldEnd | undefined;
}

/** When it ends by the engine's clock: between the two, both included. */
export interface HeldEnd {
  readonly min: number;
  readonly max: number;
  /** The virtual instant of the call that gave it. */
  readonly since: number;
}

/** What a commit does to one key; `undefined` deletes it. */
export type Effects = ReadonlyMap<string, { readonly value: string; readonly end: HeldEnd | undefined } | undefined>;

/** Key-values as they may be at one point of an order. Never changed, only replaced. */
export class KeyValueState {
  static readonly empty = new KeyValueState(new Map(), 0n, 0);

  readonly entries: ReadonlyMap<string, HeldValue>;
  /** The greatest version that is known of a commit so far. */
  readonly last: bigint;
  /** How many commits changed something so far. */
  readonly commits: number;
  #key: string | undefined;

  private constructor(entries: ReadonlyMap<string, HeldValue>, last: bigint, commits: number) {
    this.entries = entries;
    this.last = last;
    this.commits = commits;
  }

  /** After a commit with these effects; `version` is `undefined` when nobody has been told. Nothing when it cannot have had this version. */
  changed(effects: Effects, version: bigint | undefined): KeyValueState | undefined {
    if (effects.size === 0) return this;
    if (version !== undefined && version <= this.last) return undefined;
    const order = this.commits + 1;
    const entries = new Map<string, HeldValue>();
    for (const [key, held] of this.entries) {
      if (!effects.has(key)) entries.set(key, version === undefined ? held : boundedBy(held, version));
    }
    for (const [key, effect] of effects) {
      if (effect !== undefined) entries.set(key, { ...effect, order, version, above: this.last, below: undefined });
    }
    return new KeyValueState(entries, version ?? this.last, order);
  }

  /** When the key's version is this one; nothing when it cannot be. */
  withVersion(key: string, version: bigint): KeyValueState | undefined {
    const held = this.entries.get(key)!;
    if (held.version !== undefined) return held.version === version ? this : undefined;
    if (version <= held.above || (held.below !== undefined && version >= held.below)) return undefined;
    const entries = new Map<string, HeldValue>();
    for (const [name, other] of this.entries) {
      if (other.version !== undefined) entries.set(name, other);
      else if (other.order === held.order) entries.set(name, { ...other, version });
      else if (other.order < held.order) entries.set(name, boundedBy(other, version));
      else entries.set(name, other.above < version ? { ...other, above: version } : other);
    }
    return new KeyValueState(entries, version > this.last ? version : this.last, this.commits);
  }

  /** When somebody is shown this entry; nothing when it cannot be what the key holds. */
  seen(entry: KeyValueEntry): KeyValueState | undefined {
    const held = this.entries.get(entry.key);
    if (held === undefined || held.value !== textOfValue(entry.value)) return undefined;
    const { expiresAt } = entry;
    if ((held.end === undefined) !== (expiresAt === undefined)) return undefined;
    const known = this.withVersion(entry.key, entry.version);
    if (known === undefined || held.end === undefined) return known;
    if (expiresAt! < held.end.min || expiresAt! > held.end.max) return undefined;
    if (held.end.min === held.end.max) return known;
    const entries = new Map(known.entries);
    const end = { min: expiresAt!, max: expiresAt!, since: held.end.since };
    entries.set(entry.key, { ...known.entries.get(entry.key)!, end });
    return new KeyValueState(entries, known.last, known.commits);
  }

  get key(): string {
    this.#key ??= this.#makeKey();
    return this.#key;
  }

  #makeKey(): string {
    const unknown = [...this.entries.values()].filter(({ version }) => version === undefined);
    const orders = [...new Set(unknown.map(({ order }) => order))].sort((a, b) => a - b);
    const parts: string[] = [];
    for (const key of [...this.entries.keys()].sort()) {
      const { value, order, version, above, below, end } = this.entries.get(key)!;
      const told = version ?? `${orders.indexOf(order)}?${above}:${below}`;
      parts.push(`${JSON.stringify([key, value])}@${told}!${end?.min}:${end?.max}`);
    }
    return `${this.last} ${parts.join(" ")}`;
  }

  tell(key: string): string {
    const held = this.entries.get(key);
    if (held === undefined) return `${JSON.stringify(key)} absent`;
    const version = held.version ?? "unknown";
    const end = held.end === undefined ? "" : ` until ${held.end.min}`;
    return `${JSON.stringify(key)} = ${tellValue(held.value)} in version ${version}${end}`;
  }
}

function boundedBy(held: HeldValue, below: bigint): HeldValue {
  if (held.version !== undefined || (held.below !== undefined && held.below <= below)) return held;
  return { ...held, below };
}
