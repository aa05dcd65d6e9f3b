import { TenonError } from "../contracts/errors.ts";
import { systemWorld, type World } from "../world/index.ts";

export interface UuidV7Options {
  readonly world?: World | undefined;
}

/**
 * UUIDs of version 7 (RFC 9562) in their canonical form. Those of one generator sort in the order in which they were made, also
 * while the clock stands still or goes back: then they keep the last timestamp.
 */
export interface UuidV7 {
  next(): string;
}

export function uuidv7(options: UuidV7Options = {}): UuidV7 {
  return new UuidV7Generator(options.world ?? systemWorld());
}

/** When a UUID of version 7 was made, in ms since the Unix epoch. `invalid` when it is not one. */
export function uuidv7Time(uuid: string): number {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i.test(uuid)) {
    throw new TenonError(
      "invalid",
      "A text is not a UUID of version 7. Pass one in its canonical form of 36 characters.",
    );
  }
  return Number.parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16);
}

const hex = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, "0"));
const poolBytes = 3_072;
const tailBytes = 6;

/**
 * RFC 9562, section 6.2, method 1: a counter of 30 bits directly below the timestamp (all of rand_a, and the top 18 bits of rand_b). It
 * is drawn anew each millisecond with its highest bit clear, so that half a billion ids fit before it would spill into the
 * timestamp. The 44 bits below it are random in every id.
 */
class UuidV7Generator implements UuidV7 {
  readonly #world: World;
  #timestamp = Number.NEGATIVE_INFINITY;
  #timestampText = "";
  #counter = 0;
  #pool: Uint8Array = new Uint8Array(0);
  #poolOffset = 0;

  constructor(world: World) {
    this.#world = world;
  }

  next(): string {
    const now = Math.floor(this.#world.clock.now());
    if (now > this.#timestamp) this.#enter(now);
    else if (++this.#counter === 2 ** 30) this.#enter(this.#timestamp + 1);
    const counter = this.#counter;
    const at = this.#draw(tailBytes);
    const pool = this.#pool;
    // version and rand_a: the counter's upper 12 bits; variant and 14 bits; then 4 more of the counter and 44 random ones.
    return (
      this.#timestampText +
      hex[0x70 | (counter >>> 26)]! +
      hex[(counter >>> 18) & 0xff]! +
      "-" +
      hex[0x80 | ((counter >>> 12) & 0x3f)]! +
      hex[(counter >>> 4) & 0xff]! +
      "-" +
      hex[((counter & 0xf) << 4) | (pool[at]! & 0xf)]! +
      hex[pool[at + 1]!]! +
      hex[pool[at + 2]!]! +
      hex[pool[at + 3]!]! +
      hex[pool[at + 4]!]! +
      hex[pool[at + 5]!]!
    );
  }

  #enter(timestamp: number): void {
    if (!(timestamp >= 0 && timestamp < 2 ** 48)) {
      throw new TenonError(
        "unavailable",
        `The clock shows ${timestamp}, which a UUID of version 7 cannot hold. Correct the clock.`,
        {
          fields: { clockMs: timestamp },
        },
      );
    }
    const text = timestamp.toString(16).padStart(12, "0");
    const at = this.#draw(4);
    const pool = this.#pool;
    this.#counter = ((pool[at]! & 0x1f) << 24) | (pool[at + 1]! << 16) | (pool[at + 2]! << 8) | pool[at + 3]!;
    this.#timestampText = `${text.slice(0, 8)}-${text.slice(8)}-`;
    this.#timestamp = timestamp;
  }

  /** Where in the pool the next unused random bytes are; asking the world for a few at a time would cost more than the id. */
  #draw(count: number): number {
    if (this.#poolOffset + count > this.#pool.length) {
      this.#pool = this.#world.random.bytes(poolBytes);
      this.#poolOffset = 0;
    }
    const offset = this.#poolOffset;
    this.#poolOffset += count;
    return offset;
  }
}
