import { TenonError } from "../../contracts/errors.ts";
import { atOnce } from "./at-once.ts";
import type { StateStore } from "./state-store.ts";

/** What is kept of a topic or a log as a whole, as JSON. */
export interface NamedRecord {
  readonly format: 1;
  /** Its number; what is declared after a removal has another. */
  readonly id: number;
  /** It is going; whoever meets it may finish that. */
  readonly removed?: true;
}

/** What is kept in memory of it. */
export interface NamedPlace {
  readonly name: string;
  readonly id: number;
}

export interface FoundRecord<Found extends NamedRecord> {
  readonly record: Found;
  readonly revision: number;
}

export interface PlaceKind<Found extends NamedRecord, Place extends NamedPlace> {
  /** "topic" or "log". */
  readonly what: string;
  /** The names of records' values begin with this letter and a dot. */
  readonly letter: string;
  placeOf(name: string, record: Found): Place;
  notFound(name: string): TenonError;
  /** All but the record goes: whoever changes something of it finds that gone, so that comes before the name is free. */
  empty(record: Found): Promise<void>;
  /** It is gone. */
  removed(record: Found): void;
}

/** Which topics, or logs, there are: a record by name of each, changed only if it is as it was read. */
export class NamedPlaces<Found extends NamedRecord, Place extends NamedPlace> {
  readonly #state: StateStore;
  readonly #kind: PlaceKind<Found, Place>;
  readonly #known = new Map<string, Place>();

  constructor(state: StateStore, kind: PlaceKind<Found, Place>) {
    this.#state = state;
    this.#kind = kind;
  }

  /** `not-found` when it was never declared. It may have been removed since. */
  async find(name: string): Promise<Place> {
    return this.#known.get(name) ?? (await this.findNow(name)).place;
  }

  /** As it is now. */
  async findNow(name: string): Promise<{ readonly place: Place; readonly record: Found }> {
    const found = await this.read(name);
    if (found === undefined) throw this.#kind.notFound(name);
    return { place: this.#note(name, found.record), record: found.record };
  }

  #note(name: string, record: Found): Place {
    const known = this.#known.get(name);
    if (known?.id === record.id) return known;
    const place = this.#kind.placeOf(name, record);
    this.#known.set(name, place);
    return place;
  }

  /** Forgets where it stood. */
  forget(place: Place): void {
    if (this.#known.get(place.name) === place) this.#known.delete(place.name);
  }

  /** Asks about one; when that turns out to be gone (`undefined`), once more about the one that has its name now. */
  async during<T>(name: string, ask: (place: Place) => Promise<T | undefined>): Promise<T> {
    for (;;) {
      const known = this.#known.get(name);
      const place = known ?? (await this.find(name));
      const answer = await ask(place);
      if (answer !== undefined) return answer;
      this.forget(place);
      if (known === undefined) throw this.#kind.notFound(name);
    }
  }

  /** The record under the name, whichever that is. What somebody began to remove is removed. */
  async read(name: string): Promise<FoundRecord<Found> | undefined> {
    const value = await this.#state.read(`reading a ${this.#kind.what}`, this.#valueOf(name));
    if (value === undefined) return undefined;
    const found = { record: this.#decode(value.bytes), revision: value.revision };
    if (found.record.removed !== true) return found;
    await this.#finishRemoval(name, found);
    return undefined;
  }

  /** The record of this very one; `undefined` when it is gone. */
  async recordOf({ name, id }: Place): Promise<FoundRecord<Found> | undefined> {
    const found = await this.read(name);
    return found?.record.id === id ? found : undefined;
  }

  /** `false` when it is not as it was read. */
  async write(name: string, record: Found, revision: number): Promise<boolean> {
    const what = `changing a ${this.#kind.what}`;
    return (await this.#state.write(what, this.#valueOf(name), encode(record), revision)) !== undefined;
  }

  /**
   * Changes the record that is there, or makes one. `make`: makes what belongs to it, which is there before the record is. `change`: the record as it is to be, by which what is there is
   * replaced if it differs.
   */
  async declare(
    name: string,
    { make, change }: { readonly make: () => Promise<Found>; readonly change: (record: Found) => Found },
  ): Promise<{ readonly place: Place; readonly record: Found; readonly isNew: boolean }> {
    for (;;) {
      const found = await this.read(name);
      if (found === undefined) {
        const record = await make();
        if (await this.write(name, record, 0)) return { place: this.#note(name, record), record, isNew: true };
        // Somebody else was faster.
        this.#kind.empty(record).catch(() => undefined);
        continue;
      }
      const record = change(found.record);
      const isSame = JSON.stringify(record) === JSON.stringify(found.record);
      if (!isSame && !(await this.write(name, record, found.revision))) continue;
      return { place: this.#note(name, record), record, isNew: false };
    }
  }

  async remove(name: string): Promise<void> {
    this.#known.delete(name);
    for (;;) {
      const found = await this.read(name);
      if (found === undefined) throw this.#kind.notFound(name);
      const record: Found = { ...found.record, removed: true };
      const what = `removing a ${this.#kind.what}`;
      const revision = await this.#state.write(what, this.#valueOf(name), encode(record), found.revision);
      if (revision === undefined) continue;
      await this.#finishRemoval(name, { record, revision });
      return;
    }
  }

  async #finishRemoval(name: string, { record, revision }: FoundRecord<Found>): Promise<void> {
    await this.#kind.empty(record);
    await this.#state.remove(`removing a ${this.#kind.what}`, this.#valueOf(name), revision + 1);
    this.#kind.removed(record);
  }

  async names(): Promise<readonly string[]> {
    const values = await this.#state.names(`listing the ${this.#kind.what}s`, `${this.#kind.letter}.>`);
    const names = values.map((value) => Buffer.from(value.slice(2), "base64url").toString());
    const found = await atOnce(names, (name) => this.read(name));
    const there = names.filter((_, index) => found[index] !== undefined);
    return there.sort();
  }

  #valueOf(name: string): string {
    return `${this.#kind.letter}.${Buffer.from(name).toString("base64url")}`;
  }

  #decode(bytes: Buffer): Found {
    try {
      const record = JSON.parse(bytes.toString()) as Found;
      if (record.format === 1) return record;
    } catch {
      // Told below.
    }
    const text = `a ${this.#kind.what}'s record is not what was written; something else writes under this engine's prefix, or another version`;
    throw new TenonError("corrupt", text);
  }
}

function encode(record: NamedRecord): Buffer {
  return Buffer.from(JSON.stringify(record));
}
