import type { World } from "../world/index.ts";

/** Lets callers of this process through one at a time per key, first come, first served. */
export class KeyTurns {
  readonly #world: World;
  /** What starts the turn of each who waits; the first one's turn is under way. */
  readonly #queues = new Map<string, Set<() => void>>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Resolves with what ends the turn; with `undefined` when `waitMs` has passed before. Rejects with the signal's reason. */
  async take(key: string, waitMs: number, signal: AbortSignal | undefined): Promise<(() => void) | undefined> {
    const queue = this.#queues.get(key) ?? new Set();
    this.#queues.set(key, queue);
    const turn = Promise.withResolvers<true>();
    const start = (): void => turn.resolve(true);
    const end = (): void => {
      queue.delete(start);
      // Starting a turn that is under way, when one from behind left, changes nothing.
      if (queue.size === 0) this.#queues.delete(key);
      else queue.values().next().value?.();
    };
    queue.add(start);
    if (queue.size === 1) return end;
    try {
      if (await this.#within(turn.promise, waitMs, signal)) return end;
    } catch (error) {
      end();
      throw error;
    }
    end();
    return undefined;
  }

  async #within(turn: Promise<true>, waitMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    const over = new AbortController();
    const ends = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
    // Nobody's turn comes by a timer: an infinite sleep is there for the signal alone.
    const sleep = this.#world.timers.sleep(Math.min(waitMs, waitMsMax), { signal: ends });
    sleep.catch(() => {});
    try {
      return await Promise.race([turn, sleep.then(() => false)]);
    } finally {
      over.abort();
    }
  }
}

/** A hundred years. */
const waitMsMax = 100 * 365 * 86_400_000;
