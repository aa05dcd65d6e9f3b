import { TenonError } from "../contracts/errors.ts";
import type { RateEngine } from "../contracts/rates.ts";
import type { World } from "../world/index.ts";

/** What a shared limiter needs below it. */
export interface RatesEngine {
  readonly rates: RateEngine;
  readonly world: World;
}

/** The keys of one limiter among those of all limiters on its engine. */
export class SharedKeys {
  readonly #prefix: string;
  readonly #keyBytesMax: number;

  constructor(name: string, { capabilities }: RateEngine) {
    if (!/^[A-Za-z0-9_.-]{1,200}$/.test(name)) {
      throw new TenonError(
        "invalid",
        `"${name}" cannot be the name of a limiter: give 1 to 200 letters, digits, "_", "-" and ".".`,
        { fields: { name } },
      );
    }
    // No name holds a colon: no limiter's key can be another one's.
    this.#prefix = `${name}:`;
    this.#keyBytesMax = capabilities.keyBytesMax;
  }

  of(key: string): string {
    if (typeof key !== "string") {
      throw new TenonError("invalid", `A limiter's key is a ${typeof key}. Give a string, or leave it out.`);
    }
    const full = this.#prefix + key;
    const { length } = full;
    // A code unit takes three bytes at most.
    if (length * 3 <= this.#keyBytesMax || Buffer.byteLength(full) <= this.#keyBytesMax) return full;
    throw new TenonError(
      "invalid",
      `A key of the limiter "${this.#prefix.slice(0, -1)}" has ${length} characters with the limiter's name, but the engine takes ${this.#keyBytesMax} bytes at most. Hash long keys.`,
      { fields: { length, keyBytesMax: this.#keyBytesMax } },
    );
  }
}
