import type { ConcurrencyRule } from "../contracts/rates.ts";
import type { World } from "../world/index.ts";
import type { LocalPermit } from "./local-concurrency.ts";
import { tooLong } from "./waiting.ts";

interface Waiter {
  readonly resolve: (permit: LocalPermit) => void;
  readonly reject: (error: unknown) => void;
  readonly waitMs: number;
  readonly deadline: number;
}

/** The permits of one key, and those who wait for one. */
export class PermitRoom {
  readonly #rule: ConcurrencyRule;
  readonly #world: World;
  /** Each has the same time, so that they end in this order. */
  readonly #held = new Set<RoomPermit>();
  readonly #waiters = new Set<Waiter>();
  /** Ends the sleep of the loop that looks for permits and waits that end by themselves; `undefined` when nobody waits. */
  #wake: AbortController | undefined;
  #wakeAt = 0;

  constructor(rule: ConcurrencyRule, world: World) {
    this.#rule = rule;
    this.#world = world;
  }

  /** Whether nobody is in here or waits. */
  isEmpty(now: number): boolean {
    this.#expire(now);
    return this.#held.size === 0 && this.#waiters.size === 0;
  }

  tryEnter(now: number): LocalPermit {
    this.#expire(now);
    if (this.#waiters.size === 0 && this.#held.size < this.#rule.limit) return this.#admit(now);
    return new Refusal(this.#freeInMs(now), Math.max(0, this.#rule.limit - this.#held.size));
  }

  wait(now: number, waitMs: number, signal: AbortSignal | undefined): Promise<LocalPermit> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        resolve: (permit) => {
          signal?.removeEventListener("abort", abort);
          resolve(permit);
        },
        reject: (error) => {
          signal?.removeEventListener("abort", abort);
          reject(error);
        },
        waitMs,
        deadline: now + waitMs,
      };
      const abort = (): void => {
        this.#waiters.delete(waiter);
        reject(signal?.reason);
        if (this.#waiters.size === 0) this.#wake?.abort();
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiters.add(waiter);
      if (this.#wake === undefined) void this.#watch();
      else if (waiter.deadline < this.#wakeAt) this.#wake.abort();
    });
  }

  release(permit: RoomPermit): void {
    if (!this.#held.delete(permit)) return;
    this.#serve(this.#world.clock.monotonic());
    if (this.#waiters.size === 0) this.#wake?.abort();
  }

  renew(permit: RoomPermit): boolean {
    const now = this.#world.clock.monotonic();
    this.#expire(now);
    if (!this.#held.delete(permit)) return false;
    permit.endsAt = now + this.#rule.holdMs;
    this.#held.add(permit);
    return true;
  }

  #admit(now: number): RoomPermit {
    const permit = new RoomPermit(this, now + this.#rule.holdMs, this.#rule.limit - this.#held.size - 1);
    this.#held.add(permit);
    return permit;
  }

  #expire(now: number): void {
    for (const permit of this.#held) {
      if (permit.endsAt > now) return;
      this.#held.delete(permit);
    }
  }

  #freeInMs(now: number): number {
    for (const permit of this.#held) return Math.max(1, Math.ceil(permit.endsAt - now));
    return 1;
  }

  #serve(now: number): void {
    this.#expire(now);
    for (const waiter of this.#waiters) {
      if (this.#held.size >= this.#rule.limit) return;
      this.#waiters.delete(waiter);
      waiter.resolve(this.#admit(now));
    }
  }

  /** Sends away whose time is over; answers when the next one's is. */
  #nextDeadline(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const waiter of this.#waiters) {
      if (waiter.deadline > now) {
        next = Math.min(next, waiter.deadline);
        continue;
      }
      this.#waiters.delete(waiter);
      waiter.reject(tooLong(1, this.#freeInMs(now), waiter.waitMs));
    }
    return next;
  }

  /** Sleeps until the next permit or wait ends. Ends when nobody waits. */
  async #watch(): Promise<void> {
    for (;;) {
      const now = this.#world.clock.monotonic();
      this.#serve(now);
      const deadline = this.#nextDeadline(now);
      if (this.#waiters.size === 0) break;
      const delayMs = Math.min(this.#freeInMs(now), Math.max(1, deadline - now));
      const wake = new AbortController();
      this.#wake = wake;
      this.#wakeAt = now + delayMs;
      try {
        await this.#world.timers.sleep(delayMs, { signal: wake.signal });
      } catch (error) {
        if (!wake.signal.aborted) throw error;
      }
    }
    this.#wake = undefined;
  }
}

export class RoomPermit implements LocalPermit {
  readonly allowed = true;
  readonly retryAfterMs = 0;
  readonly delayMs = 0;
  readonly remaining: number;
  readonly #room: PermitRoom;
  endsAt: number;

  constructor(room: PermitRoom, endsAt: number, remaining: number) {
    this.#room = room;
    this.endsAt = endsAt;
    this.remaining = remaining;
  }

  release(): void {
    this.#room.release(this);
  }
  renew(): boolean {
    return this.#room.renew(this);
  }
  [Symbol.dispose](): void {
    this.release();
  }
}

class Refusal implements LocalPermit {
  readonly allowed = false;
  readonly delayMs = 0;
  readonly retryAfterMs: number;
  readonly remaining: number;

  constructor(retryAfterMs: number, remaining: number) {
    this.retryAfterMs = retryAfterMs;
    this.remaining = remaining;
  }

  release(): void {}
  renew(): boolean {
    return false;
  }
  [Symbol.dispose](): void {}
}
