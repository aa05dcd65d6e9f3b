import { systemWorld, type World } from "../world/index.ts";

/** A world whose monotonic time a test moves; sleepers wake in order of their instants. */
export class HandTime {
  nowMs = 0;
  /** So much later than asked for sleepers wake. */
  latenessMs = 0;
  readonly #sleepers = new Set<{ readonly at: number; readonly wake: () => void }>();
  readonly world: World = {
    ...systemWorld(),
    clock: { now: () => this.nowMs, monotonic: () => this.nowMs },
    timers: { schedule: () => () => {}, sleep: (ms, options) => this.#sleep(ms, options?.signal) },
  };

  get sleeperCount(): number {
    return this.#sleepers.size;
  }

  #sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = { at: this.nowMs + ms + this.latenessMs, wake: resolve };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", () => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      });
    });
  }

  async advance(ms: number): Promise<void> {
    const end = this.nowMs + ms;
    for (;;) {
      await turns();
      const next = [...this.#sleepers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.nowMs = Math.max(this.nowMs, next.at);
      this.#sleepers.delete(next);
      next.wake();
    }
    this.nowMs = end;
    await turns();
  }
}

/** Lets everything that is ready happen. */
export function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
