import type { Cancel, World } from "../world/world.ts";

export interface Due {
  readonly dueAt: number;
}

/** What waits for an instant of the engine's clock: a binary heap and one timer. Nothing leaves before its instant. */
export class RetrySchedule<T extends Due> {
  readonly #world: World;
  readonly #due: (item: T) => void;
  readonly #heap: T[] = [];
  #timer: { readonly at: number; readonly cancel: Cancel } | undefined;

  constructor(world: World, due: (item: T) => void) {
    this.#world = world;
    this.#due = due;
  }

  add(item: T): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(item);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (heap[parent]!.dueAt <= item.dueAt) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = item;
    if (index === 0) this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#heap.length = 0;
  }

  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined) return;
    if (this.#timer !== undefined) {
      if (this.#timer.at <= first.dueAt) return;
      this.#timer.cancel();
    }
    // The clock may be set meanwhile: the timer looks again at least once a minute.
    const ms = Math.min(60_000, Math.max(0, Math.ceil(first.dueAt - this.#world.clock.now())));
    this.#timer = { at: first.dueAt, cancel: this.#world.timers.schedule(ms, this.#fire) };
  }

  readonly #fire = (): void => {
    this.#timer = undefined;
    const now = this.#world.clock.now();
    while (this.#heap.length > 0 && this.#heap[0]!.dueAt <= now) this.#due(this.#takeFirst());
    this.#arm();
  };

  #takeFirst(): T {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    const length = heap.length;
    if (length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= length) break;
      if (child + 1 < length && heap[child + 1]!.dueAt < heap[child]!.dueAt) child += 1;
      if (heap[child]!.dueAt >= last.dueAt) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}
