import type { Lane, LaneCommit, Positions, Stored } from "../../../contracts/messages.ts";
import { storedBytes } from "../wire/message-codecs.ts";
import { fetchBytes } from "../wire/protocol.ts";

/** How many messages are asked for at first, while nothing is known of their size. */
const firstLimit = 64;

/** A lane that the engine granted to a member that is served. */
export class ServedLane {
  readonly lane: Lane;
  /** Fetched from the engine, and too much for one answer. */
  #left: readonly Stored[] = [];
  /** How many messages about fit into one answer, as far as is known. */
  #limit = firstLimit;
  readonly #commits = new Set<Promise<void>>();

  constructor(lane: Lane) {
    this.lane = lane;
  }

  async fetch(limit: number, signal: AbortSignal): Promise<readonly Stored[]> {
    if (this.#left.length === 0) this.#left = await this.lane.fetch(Math.min(limit, this.#limit), { signal });
    let count = 0;
    let sizeBytes = 0;
    while (count < this.#left.length && count < limit && (count === 0 || sizeBytes < fetchBytes)) {
      sizeBytes += storedBytes(this.#left[count]!);
      count += 1;
    }
    // Sizes change, so it grows step by step.
    this.#limit = Math.max(1, Math.min(this.#limit * 2, Math.floor((fetchBytes / sizeBytes) * count)));
    const taken = count === this.#left.length ? this.#left : this.#left.slice(0, count);
    this.#left = this.#left.slice(count);
    return taken;
  }

  commit(change: LaneCommit): Promise<void> {
    const committed = this.lane.commit(change).then(() => this.#forget(change.settled));
    this.#commits.add(committed);
    const done = () => this.#commits.delete(committed);
    committed.then(done, done);
    return committed;
  }

  /** What is settled is not handed out any more. */
  #forget(positions: Positions): void {
    if (this.#left.length === 0) return;
    const settled = new Set(positions);
    this.#left = this.#left.filter(({ position }) => !settled.has(position));
  }

  /** Resolves when what was committed is decided. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#commits);
  }

  async release(): Promise<void> {
    await this.idle();
    await this.lane.release();
  }
}
