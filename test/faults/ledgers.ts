/** What the actors of a run were told, and whether all of it can be true. The checkers know nothing of engines. */
import { TenonError } from "tenon/contracts";

type Fate = "under way" | "acknowledged" | "not-applied" | "unknown";

/** What a failed change may have done. Everything but a `TenonError` is a fault of its own. */
export function fateOf(error: unknown): Fate {
  if (!(error instanceof TenonError)) throw error;
  if (error.outcome === "applied") return "acknowledged";
  return error.outcome;
}

interface Published {
  readonly key: string;
  readonly number: number;
  fate: Fate;
  /** Where it stands, as far as anybody has said. */
  place: string | undefined;
}

export interface Handling {
  readonly key: string;
  readonly number: number;
  readonly partition: number;
  readonly position: bigint;
  readonly fence: bigint;
}

/** The messages of a topic: each key has one publisher, who numbers them from 0. */
export class MessageLedger {
  readonly #published = new Map<string, Map<number, Published>>();
  readonly #effects = new Map<string, { fence: bigint; readonly handled: Handling[] }>();
  readonly faults: string[] = [];
  /** Handlings whose effect the guard let through. */
  effects = 0;
  refused = 0;

  count(fate: Fate): number {
    let count = 0;
    for (const ofKey of this.#published.values()) {
      for (const published of ofKey.values()) if (published.fate === fate) count += 1;
    }
    return count;
  }

  publishes(key: string, number: number): void {
    const ofKey = this.#published.get(key) ?? new Map<number, Published>();
    this.#published.set(key, ofKey);
    ofKey.set(number, { key, number, fate: "under way", place: undefined });
  }

  acknowledged(key: string, number: number, partition: number, position: bigint | undefined): void {
    const published = this.#of(key, number);
    published.fate = "acknowledged";
    if (position !== undefined) this.#stands(published, `${partition}/${position}`);
  }

  failed(key: string, number: number, error: unknown): void {
    this.#of(key, number).fate = fateOf(error);
  }

  /** The effect of a handler, behind a guard of its key that refuses fences lower than the greatest it saw. */
  handled(handling: Handling): void {
    const { key, number, fence } = handling;
    this.#stands(this.#of(key, number), `${handling.partition}/${handling.position}`);
    const guard = this.#effects.get(key) ?? { fence: -1n, handled: [] };
    this.#effects.set(key, guard);
    if (fence < guard.fence) {
      this.refused += 1;
      return;
    }
    if (fence === guard.fence) this.faults.push(`two deliveries of key ${key} have the fence ${fence}`);
    guard.fence = fence;
    guard.handled.push(handling);
    this.effects += 1;
  }

  /** How many acknowledged messages nobody has handled. */
  get missing(): number {
    let missing = 0;
    for (const [key, ofKey] of this.#published) {
      const handled = new Set(this.#effects.get(key)?.handled.map(({ number }) => number));
      for (const { number, fate } of ofKey.values()) if (fate === "acknowledged" && !handled.has(number)) missing += 1;
    }
    return missing;
  }

  check(): void {
    for (const [key, ofKey] of this.#published) {
      const handled = this.#effects.get(key)?.handled ?? [];
      const seen = new Set(handled.map(({ number }) => number));
      for (const { number, fate } of ofKey.values()) {
        if (fate === "acknowledged" && !seen.has(number)) this.faults.push(`${key}/${number} is lost`);
        if (fate === "not-applied" && seen.has(number)) this.faults.push(`${key}/${number} was not stored, and came`);
      }
      this.#checkOrder(key, handled);
    }
  }

  /** The effects on a key go on by one, or back to what was not settled; and positions are in the order of publishing. */
  #checkOrder(key: string, handled: readonly Handling[]): void {
    const stored = [...new Set(handled.map(({ number }) => number))].sort((a, b) => a - b);
    const rank = new Map(stored.map((number, index) => [number, index]));
    let last = -1;
    let furthest: Handling | undefined;
    for (const handling of handled) {
      const index = rank.get(handling.number)!;
      if (index > last + 1) this.faults.push(`${key}/${handling.number} came before ${key}/${stored[last + 1]}`);
      last = index;
      if (furthest === undefined || handling.number > furthest.number) {
        if (furthest !== undefined && handling.position <= furthest.position)
          this.faults.push(`${key}/${handling.number} stands before ${key}/${furthest.number}`);
        furthest = handling;
      }
    }
  }

  #stands(published: Published, place: string): void {
    const { key, number } = published;
    if (published.place !== undefined && published.place !== place)
      this.faults.push(`${key}/${number} is stored twice, at ${published.place} and ${place}`);
    published.place = place;
  }

  #of(key: string, number: number): Published {
    const published = this.#published.get(key)?.get(number);
    if (published === undefined) throw new Error(`${key}/${number} was never published`);
    return published;
  }
}

/** What a lock guards: it sees every token, and who believes to hold the lock when. */
export class LockLedger {
  readonly faults: string[] = [];
  #granted = 0n;
  #seen = 0n;
  readonly #holders = new Map<bigint, string>();
  readonly #commits: { readonly version: bigint; readonly token: bigint }[] = [];
  writes = 0;
  refused = 0;

  get grants(): number {
    return this.#holders.size;
  }

  /** What a new acquisition has to exceed. */
  get granted(): bigint {
    return this.#granted;
  }

  acquired(holder: string, token: bigint, grantedBefore: bigint): void {
    const other = this.#holders.get(token);
    if (other !== undefined) this.faults.push(`${other} and ${holder} have the same token ${token}`);
    if (token <= grantedBefore) this.faults.push(`${holder} got the token ${token} after ${grantedBefore} was granted`);
    this.#holders.set(token, holder);
    if (token > this.#granted) this.#granted = token;
  }

  /** `believers`: who would say at this instant that the lock is theirs. */
  write(holder: string, token: bigint, believers: readonly string[]): void {
    if (believers.length > 1) this.faults.push(`${believers.join(" and ")} hold the lock at the same time`);
    if (token < this.#seen) {
      this.refused += 1;
      return;
    }
    this.#seen = token;
    if (this.#holders.get(token) !== holder) this.faults.push(`${holder} writes under the token ${token} of another`);
    this.writes += 1;
  }

  /** A commit that the engine's own guard let through. */
  committed(token: bigint, version: bigint): void {
    this.#commits.push({ token, version });
  }

  check(): void {
    const byVersion = this.#commits.sort((one, other) => (one.version < other.version ? -1 : 1));
    for (const [index, { token, version }] of byVersion.entries()) {
      const before = byVersion[index - 1];
      if (before !== undefined && before.token > token)
        this.faults.push(`the token ${token} wrote version ${version} after ${before.token} had written`);
    }
  }
}

/** A counter to which every operation adds one, together with a record of its own. */
export class CounterLedger {
  readonly faults: string[] = [];
  readonly #operations = new Map<string, Fate>();
  readonly #values = new Set<number>();

  count(fate: Fate): number {
    return [...this.#operations.values()].filter((each) => each === fate).length;
  }

  adds(operation: string): void {
    this.#operations.set(operation, "under way");
  }

  /** `value`: what the counter was said to be; `undefined` when the commit was refused because the record was there already. */
  added(operation: string, value: number | undefined): void {
    this.#operations.set(operation, "acknowledged");
    if (value === undefined) this.faults.push(`${operation} was done before it was asked for`);
    else if (this.#values.has(value)) this.faults.push(`the counter was ${value} twice`);
    else this.#values.add(value);
  }

  failed(operation: string, error: unknown): void {
    this.#operations.set(operation, fateOf(error));
  }

  check(counter: number, records: ReadonlySet<string>): void {
    if (counter !== records.size) this.faults.push(`the counter is ${counter}, and there are ${records.size} records`);
    for (const [operation, fate] of this.#operations) {
      if (fate === "acknowledged" && !records.has(operation)) this.faults.push(`${operation} is lost`);
      if (fate === "not-applied" && records.has(operation)) this.faults.push(`${operation} was not done, and is there`);
    }
  }

  /** The same for a counter without records: of what is unknown, any part may have happened. */
  checkBounds(counter: number): void {
    const least = this.count("acknowledged");
    const most = least + this.count("unknown");
    if (counter < least || counter > most) this.faults.push(`the counter is ${counter}, not ${least} to ${most}`);
  }
}
