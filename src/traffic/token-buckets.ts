import { TenonError } from "../contracts/errors.ts";
import { systemWorld, type World } from "../world/index.ts";
import {
  type BucketLimits,
  type BucketOptions,
  type BucketState,
  bucketLimits,
  type Decision,
  decide,
} from "./bucket-state.ts";
import { impossible } from "./token-bucket.ts";

export interface TokenBucketsOptions extends BucketOptions {
  /** Buckets remembered at most; 100,000 when left out. */
  readonly keysMax?: number | undefined;
  readonly world?: World | undefined;
}

/**
 * One token bucket per key (a caller, a product, an address), in bounded memory. A key is forgotten no sooner than
 * `keysMax / 2` other keys have come after its last use; it then starts full again. The limit is therefore exact as long as fewer than
 * that many keys come within `burst / ratePerSecond` seconds, the time in which any bucket is full again.
 */
export interface TokenBuckets {
  /** `invalid` when `count` is not above 0 or exceeds the burst. */
  tryTake(key: string, count?: number): Decision;
  /** How many keys are remembered. */
  readonly size: number;
}

export function tokenBuckets(options: TokenBucketsOptions): TokenBuckets {
  const { keysMax = 100_000, world = systemWorld() } = options;
  if (!(Number.isSafeInteger(keysMax) && keysMax >= 2)) {
    throw new TenonError("invalid", `tokenBuckets' keysMax is ${keysMax}. Give a whole number of at least 2.`, {
      fields: { keysMax },
    });
  }
  return new LocalTokenBuckets(bucketLimits(options), keysMax, world);
}

class LocalTokenBuckets implements TokenBuckets {
  readonly #limits: BucketLimits;
  readonly #generationMax: number;
  readonly #world: World;
  /** Two generations instead of a list by last use: a decision on a known key writes to no map. */
  #young = new Map<string, BucketState>();
  #old = new Map<string, BucketState>();

  constructor(limits: BucketLimits, keysMax: number, world: World) {
    this.#limits = limits;
    this.#generationMax = Math.floor(keysMax / 2);
    this.#world = world;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  tryTake(key: string, count = 1): Decision {
    const limits = this.#limits;
    if (!(count > 0 && count <= limits.burst)) throw impossible(count, limits);
    const now = this.#world.clock.monotonic();
    const state = this.#young.get(key) ?? this.#rejuvenate(key, now);
    return decide(state, limits, now, count);
  }

  #rejuvenate(key: string, now: number): BucketState {
    const state = this.#old.get(key) ?? { tokens: this.#limits.burst, at: now };
    this.#old.delete(key);
    if (this.#young.size >= this.#generationMax) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, state);
    return state;
  }
}
