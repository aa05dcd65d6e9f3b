export interface SimulatedEvent {
  readonly atMs: number;
  /** Events of one instant fire in the order in which they were scheduled. */
  readonly sequence: number;
  readonly label: string;
  readonly fire: () => void;
  cancelled: boolean;
}

const COMPACTION_MIN = 1024;

/** A binary heap by instant, then by order of insertion. Cancelled events are dropped when they surface or are the majority. */
export class EventQueue {
  #heap: SimulatedEvent[] = [];
  #cancelledCount = 0;

  get size(): number {
    return this.#heap.length - this.#cancelledCount;
  }

  push(event: SimulatedEvent): void {
    this.#heap.push(event);
    this.#rise(this.#heap.length - 1);
  }

  cancel(event: SimulatedEvent): void {
    if (event.cancelled) return;
    event.cancelled = true;
    this.#cancelledCount += 1;
    if (this.#cancelledCount > COMPACTION_MIN && this.#cancelledCount * 2 > this.#heap.length) this.#compact();
  }

  /** The earliest event; it counts as cancelled from then on, so that cancelling it late changes nothing. */
  pop(): SimulatedEvent | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined) return undefined;
      const last = this.#heap.pop()!;
      if (first !== last) {
        this.#heap[0] = last;
        this.#sink(0);
      }
      if (!first.cancelled) {
        first.cancelled = true;
        return first;
      }
      this.#cancelledCount -= 1;
    }
  }

  /** Sorted by `before`, an array is a heap. */
  #compact(): void {
    this.#heap = this.#heap.filter((event) => !event.cancelled).sort((one, other) => (before(one, other) ? -1 : 1));
    this.#cancelledCount = 0;
  }

  #rise(start: number): void {
    const heap = this.#heap;
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(heap[index]!, heap[parent]!)) return;
      swap(heap, index, parent);
      index = parent;
    }
  }

  #sink(start: number): void {
    const heap = this.#heap;
    let index = start;
    for (;;) {
      let least = index;
      for (const child of [2 * index + 1, 2 * index + 2]) {
        if (child < heap.length && before(heap[child]!, heap[least]!)) least = child;
      }
      if (least === index) return;
      swap(heap, index, least);
      index = least;
    }
  }
}

function before(one: SimulatedEvent, other: SimulatedEvent): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.sequence < other.sequence);
}

function swap(heap: SimulatedEvent[], one: number, other: number): void {
  const kept = heap[one]!;
  heap[one] = heap[other]!;
  heap[other] = kept;
}
