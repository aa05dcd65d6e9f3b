import { TenonError } from "../contracts/errors.ts";
import type { KeyValueEngine, KeyValueEntry } from "../contracts/key-value.ts";
import { checkTtl } from "./limits.ts";

/** A whole number that any number of callers change at once. */
export interface Counter {
  /** 0 when it was never added to. `invalid` when the key holds something else. */
  get(): Promise<number>;
  /**
   * Adds `by`, a safe integer, unless the sum would leave [min, max]. Never retried: after `outcome: "unknown"` it may have been added or
   * not. Where that matters, commit the `add` together with an `ifAbsent` record of the request.
   */
  add(by: number, options?: AddOptions): Promise<Added>;
}

export interface AddOptions {
  readonly min?: number | undefined;
  readonly max?: number | undefined;
  /** Only for a counter that this call creates; an existing one keeps its own. */
  readonly ttlMs?: number | undefined;
}

export interface Added {
  /** `false` when the sum would have left the bounds. */
  readonly added: boolean;
  /** The value now. */
  readonly value: number;
}

export class BoundedCounter implements Counter {
  readonly #engine: KeyValueEngine;
  readonly #key: string;

  constructor(engine: KeyValueEngine, key: string) {
    this.#engine = engine;
    this.#key = key;
  }

  async get(): Promise<number> {
    const [entry] = await this.#engine.get([this.#key]);
    return counterValue(entry, this.#key);
  }

  async add(by: number, options: AddOptions = {}): Promise<Added> {
    const { min, max, ttlMs } = options;
    if (!Number.isSafeInteger(by)) {
      throw new TenonError("invalid", `${by} cannot be added to the counter "${this.#key}". Add a safe integer.`, {
        fields: { key: this.#key },
      });
    }
    checkTtl(this.#key, ttlMs);
    const result = await this.#engine.commit([{ type: "add", key: this.#key, by, min, max, ttlMs }]);
    if (result.committed) return { added: true, value: result.counters[0] as number };
    return { added: false, value: counterValue(result.current, this.#key) };
  }
}

function counterValue(entry: KeyValueEntry | undefined, key: string): number {
  if (entry === undefined) return 0;
  const digits = Buffer.from(entry.value.buffer, entry.value.byteOffset, entry.value.byteLength).toString("latin1");
  const value = /^-?\d{1,16}$/.test(digits) ? Number(digits) : Number.NaN;
  if (!Number.isSafeInteger(value)) {
    throw new TenonError(
      "invalid",
      `The value at "${key}" is not a counter. Read it with get(), or give the counter a key of its own.`,
      {
        fields: { key, version: entry.version },
      },
    );
  }
  return value;
}
