import { TenonError } from "../contracts/errors.ts";
import type { Lane, Stored } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { joinedSignal } from "./joined-signal.ts";

const pageCountMax = 256;
const fetchMsMax = 60_000;

export interface UnsettledParts {
  readonly lane: Lane;
  /** Everything below is settled. */
  readonly low: bigint;
  /** How many messages below `end` are not settled. */
  readonly count: number;
  /** Nothing from here on is settled. */
  readonly end: bigint;
  readonly world: World;
  readonly signal: AbortSignal;
}

/** What a group has not settled in one partition, read as far as it is asked for. */
export class Unsettled {
  readonly #parts: UnsettledParts;
  /** How many are still to be fetched. */
  #left: number;
  #page: readonly Stored[] = [];
  #at = 0;

  constructor(parts: UnsettledParts) {
    this.#parts = parts;
    this.#left = parts.count;
  }

  get low(): bigint {
    return this.#parts.low;
  }

  get end(): bigint {
    return this.#parts.end;
  }

  /** Whether the position is among them. Asked in the order of the positions. */
  async has(position: bigint): Promise<boolean> {
    if (position < this.#parts.low) return false;
    if (position >= this.#parts.end) return true;
    for (;;) {
      const next = await this.#next();
      if (next === undefined || next > position) return false;
      if (next === position) return true;
      this.#at += 1;
    }
  }

  async #next(): Promise<bigint | undefined> {
    if (this.#at === this.#page.length) {
      if (this.#left === 0) return undefined;
      this.#page = await this.#fetched();
      this.#left -= this.#page.length;
      this.#at = 0;
    }
    return this.#page[this.#at]!.position;
  }

  /** There is more, but not within the window if the group has settled more in a row than that holds. */
  async #fetched(): Promise<readonly Stored[]> {
    const { lane, world, signal } = this.#parts;
    using ends = joinedSignal(signal);
    const cancel = world.timers.schedule(fetchMsMax, () => ends.abort(tooFar(lane)));
    try {
      return await lane.fetch(Math.min(pageCountMax, this.#left), { signal: ends.signal });
    } finally {
      cancel();
    }
  }
}

function tooFar({ topic, group, partition }: Lane): TenonError {
  return new TenonError(
    "timeout",
    `what group ${group} has not settled in ${topic}/${partition} could not be read: too many settled messages lie between; let the group handle its oldest messages, and move the topic then`,
    { fields: { topic, group, partition } },
  );
}
