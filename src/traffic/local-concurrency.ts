import { checkConcurrency } from "../contracts/rate-rules.ts";
import type { ConcurrencyRule, RateDecision } from "../contracts/rates.ts";
import { systemWorld, type World } from "../world/index.ts";
import { PermitRoom } from "./permit-room.ts";
import { checkWaitMs, tooLong, type WaitOptions, waitMsDefault } from "./waiting.ts";

/** The answer to who asks to enter; when `allowed`, the permit itself. Releasing a refusal, or twice, does nothing. */
export interface LocalPermit extends RateDecision, Disposable {
  release(): void;
  /** The full `holdMs` again from now. `false` when it was released or has ended. */
  renew(): boolean;
}

/**
 * At most `limit` permits at a time in this process: per key or, without one, for all together. A permit that is not given back ends
 * after `holdMs`, by the monotonic clock. Only keys with permits take memory.
 */
export interface LocalConcurrencyLimiter {
  /** Decides now. Refuses while earlier callers of `enter` wait for the key. */
  tryEnter(key?: string): LocalPermit;
  /** Waits for a permit: first come, first served per key. `overloaded` when `waitMs` has passed. */
  enter(key?: string, options?: WaitOptions): Promise<LocalPermit>;
}

export function localConcurrencyLimiter(
  rule: ConcurrencyRule,
  options: { readonly world?: World | undefined } = {},
): LocalConcurrencyLimiter {
  checkConcurrency(rule, { logLimitMax: Number.MAX_SAFE_INTEGER });
  return new MemoryConcurrencyLimiter(rule, options.world ?? systemWorld());
}

const sweepSizeMin = 1_024;

class MemoryConcurrencyLimiter implements LocalConcurrencyLimiter {
  readonly #rule: ConcurrencyRule;
  readonly #world: World;
  readonly #rooms = new Map<string, PermitRoom>();
  /** With so many keys, those that nobody is in are forgotten; it grows with those that stay, so that a key costs little. */
  #sweepSize = sweepSizeMin;

  constructor(rule: ConcurrencyRule, world: World) {
    this.#rule = rule;
    this.#world = world;
  }

  tryEnter(key = ""): LocalPermit {
    const now = this.#world.clock.monotonic();
    return this.#room(key, now).tryEnter(now);
  }

  async enter(key = "", { waitMs = waitMsDefault, signal }: WaitOptions = {}): Promise<LocalPermit> {
    checkWaitMs(waitMs);
    signal?.throwIfAborted();
    const now = this.#world.clock.monotonic();
    const room = this.#room(key, now);
    const permit = room.tryEnter(now);
    if (permit.allowed) return permit;
    if (waitMs === 0) throw tooLong(1, permit.retryAfterMs, waitMs);
    return room.wait(now, waitMs, signal);
  }

  #room(key: string, now: number): PermitRoom {
    const known = this.#rooms.get(key);
    if (known !== undefined) return known;
    if (this.#rooms.size >= this.#sweepSize) this.#sweep(now);
    const room = new PermitRoom(this.#rule, this.#world);
    this.#rooms.set(key, room);
    return room;
  }

  #sweep(now: number): void {
    for (const [key, room] of this.#rooms) if (room.isEmpty(now)) this.#rooms.delete(key);
    this.#sweepSize = Math.max(sweepSizeMin, this.#rooms.size * 2);
  }
}
