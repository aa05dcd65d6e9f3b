import { TenonError } from "../contracts/errors.ts";

/**
 * One state per key, in bounded memory. A key is forgotten no sooner than `keysMax / 2` other keys have come after its last use.
 * Two generations instead of a list by last use: looking up a known key writes to no map.
 */
export class KeyStates<State> {
  readonly #generationMax: number;
  readonly #fresh: (now: number) => State;
  #young = new Map<string, State>();
  #old = new Map<string, State>();

  constructor(keysMax: number, fresh: (now: number) => State) {
    if (!(Number.isSafeInteger(keysMax) && keysMax >= 2)) {
      throw new TenonError("invalid", `A limiter's keysMax is ${keysMax}. Give a whole number of at least 2.`, {
        fields: { keysMax },
      });
    }
    this.#generationMax = Math.floor(keysMax / 2);
    this.#fresh = fresh;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: string, now: number): State {
    return this.#young.get(key) ?? this.#rejuvenate(key, now);
  }

  set(key: string, state: State): void {
    this.#old.delete(key);
    if (!this.#young.has(key)) this.#makeRoom();
    this.#young.set(key, state);
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  #rejuvenate(key: string, now: number): State {
    if (typeof key !== "string") {
      throw new TenonError("invalid", `A limiter's key is a ${typeof key}. Give a string, or leave it out.`);
    }
    const state = this.#old.get(key) ?? this.#fresh(now);
    this.set(key, state);
    return state;
  }

  #makeRoom(): void {
    if (this.#young.size < this.#generationMax) return;
    this.#old = this.#young;
    this.#young = new Map();
  }
}
