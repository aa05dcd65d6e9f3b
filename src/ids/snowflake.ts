import { TenonError } from "../contracts/errors.ts";
import { systemWorld, type World } from "../world/index.ts";
import { decodeBase32, encodeBase32 } from "./base32.ts";

export interface SnowflakeOptions {
  /** 0 to 1,023: unique among the generators that run at the same time. */
  readonly worker: number;
  /** The instant that counts as 0, in ms since the Unix epoch: 2024-01-01 when left out. The same for all generators, for ever. */
  readonly epochMs?: number | undefined;
  /**
   * How far ids may run ahead of the clock, in milliseconds: when the clock goes back, or more than 4,096 ids are taken in a millisecond.
   * 50 when left out. A successor of a crashed generator with the same worker must start no sooner than this after it.
   */
  readonly aheadMsMax?: number | undefined;
  readonly world?: World | undefined;
}

export interface SnowflakeParts {
  /** ms since the Unix epoch. */
  readonly timestampMs: number;
  readonly worker: number;
  readonly sequence: number;
}

/**
 * Ids of 63 bits: 41 for milliseconds, 10 for the worker, 12 for a sequence. Those of one generator grow strictly; those of several are
 * ordered by time, as far as their clocks agree.
 */
export interface Snowflake {
  /**
   * Never waits. When a millisecond's 4,096 ids are used up, it borrows from the next one, up to `aheadMsMax`; beyond that it is
   * `overloaded`. A clock that goes back is borne within the same limit; beyond it, `unavailable` says how far it went.
   */
  next(): bigint;
  /** The next id as 13 digits of Crockford's base 32 (0–9, A–Z without I, L, O, U), which sort as the numbers do. */
  nextString(): string;
  /** The next `count` ids; waits where `next` would be overloaded. */
  nextMany(count: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<bigint[]>;
  /** Takes apart an id made with the same epoch, in either form. `invalid` when it is not one. */
  parse(id: bigint | string): SnowflakeParts;
}

const defaultEpochMs = 1_704_067_200_000;
const sequenceMax = 4_095;
const timestampMax = 2 ** 41 - 1;

export function snowflake(options: SnowflakeOptions): Snowflake {
  const { worker, epochMs = defaultEpochMs, aheadMsMax = 50, world = systemWorld() } = options;
  if (!(Number.isInteger(worker) && worker >= 0 && worker <= 1_023)) {
    throw new TenonError("invalid", `A snowflake's worker is ${worker}. Give a whole number from 0 to 1,023.`, {
      fields: { worker },
    });
  }
  if (!Number.isSafeInteger(epochMs)) {
    throw new TenonError(
      "invalid",
      `A snowflake's epochMs is ${epochMs}. Give whole milliseconds since the Unix epoch.`,
      { fields: { epochMs } },
    );
  }
  if (!(Number.isSafeInteger(aheadMsMax) && aheadMsMax >= 0)) {
    throw new TenonError("invalid", `A snowflake's aheadMsMax is ${aheadMsMax}. Give whole milliseconds, 0 or more.`, {
      fields: { aheadMsMax },
    });
  }
  return new SnowflakeGenerator(worker, epochMs, aheadMsMax, world);
}

class SnowflakeGenerator implements Snowflake {
  readonly #worker: number;
  readonly #epochMs: number;
  readonly #aheadMsMax: number;
  readonly #world: World;
  /** The timestamp of the last id, since our epoch; it never goes back. */
  #timestamp = Number.NEGATIVE_INFINITY;
  #sequence = sequenceMax;
  /** The latest instant that the clock has shown, so that its going back can be told from our running ahead. */
  #latest = Number.NEGATIVE_INFINITY;
  /** The id of sequence 0 at `#timestamp`: one bigint shift per millisecond instead of one per id. */
  #first = 0n;

  constructor(worker: number, epochMs: number, aheadMsMax: number, world: World) {
    this.#worker = worker;
    this.#epochMs = epochMs;
    this.#aheadMsMax = aheadMsMax;
    this.#world = world;
  }

  next(): bigint {
    this.#advance();
    return this.#first + BigInt(this.#sequence);
  }

  nextString(): string {
    this.#advance();
    return encodeBase32(this.#timestamp, this.#worker * 4_096 + this.#sequence);
  }

  async nextMany(count: number, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<bigint[]> {
    const { signal } = options;
    if (!(Number.isSafeInteger(count) && count >= 0)) {
      throw new TenonError("invalid", `nextMany was asked for ${count} ids. Give a whole number, 0 or more.`, {
        fields: { count },
      });
    }
    signal?.throwIfAborted();
    const ids: bigint[] = [];
    while (ids.length < count) {
      if (this.#isSpent()) await this.#world.timers.sleep(1, { signal });
      else ids.push(this.next());
    }
    return ids;
  }

  parse(id: bigint | string): SnowflakeParts {
    const value = typeof id === "string" ? decodeBase32(id) : id;
    if (value === undefined || value < 0n || value >= 1n << 63n) {
      throw new TenonError(
        "invalid",
        "A snowflake id is a bigint of 63 bits, or its 13 base-32 digits; this is neither. Pass it on as it was made.",
      );
    }
    return {
      timestampMs: Number(value >> 22n) + this.#epochMs,
      worker: Number((value >> 12n) & 1_023n),
      sequence: Number(value & 4_095n),
    };
  }

  /** Moves to the next (timestamp, sequence), or throws and leaves both as they were. */
  #advance(): void {
    const now = Math.floor(this.#world.clock.now()) - this.#epochMs;
    if (now > this.#latest) this.#latest = now;
    if (now > this.#timestamp) {
      this.#enter(now);
    } else if (this.#timestamp - now > this.#aheadMsMax) {
      throw this.#tooFarAhead(now);
    } else if (this.#sequence < sequenceMax) {
      this.#sequence++;
    } else if (this.#timestamp + 1 - now > this.#aheadMsMax) {
      throw this.#tooFarAhead(now);
    } else {
      this.#enter(this.#timestamp + 1);
    }
  }

  #enter(timestamp: number): void {
    if (!(timestamp >= 0 && timestamp <= timestampMax)) {
      const instant = timestamp + this.#epochMs;
      throw new TenonError(
        "unavailable",
        `The clock shows ${instant}, which 41 bits from the epoch ${this.#epochMs} cannot hold. Correct the clock or the epoch.`,
        {
          fields: { clockMs: instant, epochMs: this.#epochMs },
        },
      );
    }
    this.#first = (BigInt(timestamp) << 22n) | BigInt(this.#worker << 12);
    this.#timestamp = timestamp;
    this.#sequence = 0;
  }

  /** Whether `next` would be overloaded. */
  #isSpent(): boolean {
    const now = Math.floor(this.#world.clock.now()) - this.#epochMs;
    return now >= this.#latest && this.#sequence === sequenceMax && this.#timestamp + 1 - now > this.#aheadMsMax;
  }

  #tooFarAhead(now: number): TenonError {
    const fields = {
      worker: this.#worker,
      backMs: this.#latest - now,
      aheadMs: this.#timestamp - now,
      aheadMsMax: this.#aheadMsMax,
    };
    if (fields.backMs > 0) {
      return new TenonError(
        "unavailable",
        `The clock went back by ${fields.backMs} ms, so that worker ${this.#worker}'s last id is ${fields.aheadMs} ms ahead of it, and ${this.#aheadMsMax} ms is the limit. Wait until the clock has caught up, or correct it.`,
        { fields },
      );
    }
    return new TenonError(
      "overloaded",
      `Worker ${this.#worker} was asked for more than 4,096 ids per millisecond and is ${fields.aheadMs} ms ahead of the clock. Use nextMany(), which waits, or more workers.`,
      { fields },
    );
  }
}
