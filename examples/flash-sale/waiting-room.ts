import type { World } from "tenon/world";
import type { Answer } from "./model.ts";

interface Waiter {
  readonly resolve: (answer: Answer) => void;
  readonly deadline: number;
  /** Another buyer's connection that waits for the same request, as after a retry. */
  readonly next: Waiter | undefined;
}

const sweepMs = 100;

/**
 * Who waits for the answer to which request. Every entry leaves by its answer or by its timeout, whichever comes first; an
 * answer that nobody waits for any more is dropped. One timer serves all: everybody waits equally long, so the oldest
 * entries stand first.
 */
export class WaitingRoom {
  readonly #world: World;
  readonly #timeoutMs: number;
  readonly #waiting = new Map<string, Waiter>();
  #cancelSweep: (() => void) | undefined;

  constructor(world: World, timeoutMs: number) {
    this.#world = world;
    this.#timeoutMs = timeoutMs;
  }

  get size(): number {
    return this.#waiting.size;
  }

  wait(requestId: string): Promise<Answer> {
    this.#cancelSweep ??= this.#world.timers.schedule(sweepMs, () => this.#sweep());
    return new Promise((resolve) => {
      const deadline = this.#world.clock.monotonic() + this.#timeoutMs;
      const next = this.#waiting.get(requestId);
      // Deleting first moves the entry to the end, where the latest deadlines are.
      if (next !== undefined) this.#waiting.delete(requestId);
      this.#waiting.set(requestId, { resolve, deadline, next });
    });
  }

  answer(requestId: string, answer: Answer): void {
    let waiter = this.#waiting.get(requestId);
    if (waiter === undefined) return;
    this.#waiting.delete(requestId);
    for (; waiter !== undefined; waiter = waiter.next) waiter.resolve(answer);
  }

  /** Ends every wait. */
  close(): void {
    this.#cancelSweep?.();
    for (const requestId of [...this.#waiting.keys()]) this.answer(requestId, "unavailable");
  }

  #sweep(): void {
    this.#cancelSweep = undefined;
    const now = this.#world.clock.monotonic();
    for (const [requestId, waiter] of this.#waiting) {
      if (waiter.deadline > now) break;
      this.answer(requestId, "timed-out");
    }
    if (this.#waiting.size > 0) this.#cancelSweep = this.#world.timers.schedule(sweepMs, () => this.#sweep());
  }
}
