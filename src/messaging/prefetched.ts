/** A number of messages, and what they take. */
export interface Amount {
  count: number;
  bytes: number;
}

export interface PrefetchLimits {
  /** How many messages there may be. */
  readonly prefetch: number;
  /** How much they may take. */
  readonly prefetchBytes: number;
  /** So many are fetched whatever they take, unless `prefetch` is less: what may be handled at once. */
  readonly prefetchMin: number;
}

/**
 * What a lane has fetched and not durably settled, without what waits for a retry or behind it. Small messages are bounded by their number and large ones by their bytes;
 * what one answer of the engine holds comes on top.
 */
export class Prefetched {
  readonly #limits: PrefetchLimits;
  count = 0;
  bytes = 0;

  constructor(limits: PrefetchLimits) {
    this.#limits = limits;
  }

  add(bytes: number): void {
    this.count += 1;
    this.bytes += bytes;
  }

  remove(bytes: number): void {
    this.count -= 1;
    this.bytes -= bytes;
  }

  removeAll({ count, bytes }: Amount): void {
    this.count -= count;
    this.bytes -= bytes;
  }

  /** How many more may be fetched. */
  get room(): number {
    const { prefetch, prefetchBytes, prefetchMin } = this.#limits;
    return (this.bytes < prefetchBytes ? prefetch : Math.min(prefetch, prefetchMin)) - this.count;
  }

  /** Less than half is left: fetching in halves keeps fetches large. Of large messages there are few, and each that is missing leaves a handler idle. */
  get isLow(): boolean {
    const { prefetch, prefetchBytes, prefetchMin } = this.#limits;
    if (this.count < Math.min(prefetch, prefetchMin) && 2 * this.bytes > prefetchBytes) return true;
    return this.count <= prefetch / 2 && this.bytes <= prefetchBytes / 2;
  }
}
