import { isCode, TenonError } from "../../contracts/errors.ts";
import type { Held, LaneCommit, MessageCapabilities, Positions } from "../../contracts/messages.ts";
import { type CheckedBatch, checkBatch, refuseRepeatedProducers } from "./batches.ts";
import { noSuchPosition } from "./errors.ts";
import type { OpenedLane } from "./lane-store.ts";
import { fromPosition } from "./positions.ts";
import { eachOf, Gathered, type Ranges } from "./ranges.ts";

/** What committing needs of its lane. */
export interface CommittingLane {
  readonly name: string;
  readonly opened: OpenedLane;
  readonly capabilities: MessageCapabilities;
  /** Everything below is settled, as far as is known here. */
  readonly low: number;
  /** Positions with a held entry in the store, at least. */
  readonly heldPositions: Set<number>;
  /** The positions are settled, and everything below `low` is. */
  settled(positions: Ranges, low: number): void;
  /** The store says that the grant is superseded. */
  superseded(): TenonError;
}

interface Waiting {
  readonly settled: Ranges;
  readonly held: readonly Held[];
  readonly appends: readonly CheckedBatch[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const positionsMax = 2 ** 32 - 1;

/** A lane's commits, in the order of the calls: one change is under way, and takes the changes that gathered meanwhile as one. */
export class LaneCommits {
  readonly #lane: CommittingLane;
  readonly #queue: Waiting[] = [];
  #draining: Promise<void> | undefined;

  constructor(lane: CommittingLane) {
    this.#lane = lane;
  }

  add(change: LaneCommit): Promise<void> {
    return new Promise((resolve, reject) => {
      const batches = change.appends ?? [];
      refuseRepeatedProducers(batches);
      const appends = batches.map((batch) => checkBatch(batch, this.#lane.capabilities));
      const held = change.held ?? [];
      for (const entry of held) checkHeld(this.#lane.name, entry);
      const settled = this.#positions(change.settled);
      this.#queue.push({ settled, held, appends, resolve, reject });
      this.#draining ??= this.#drain();
    });
  }

  /** Resolves when what was asked for is decided. */
  async idle(): Promise<void> {
    await this.#draining;
  }

  #positions(positions: Positions): Ranges {
    const { low, name } = this.#lane;
    const unsettled = new Gathered();
    let from = 0;
    let to = 0;
    for (let i = 0; i < positions.length; i++) {
      const position = fromPosition(positions[i]!);
      if (position - low >= positionsMax) throw noSuchPosition(name, positions[i]!);
      if (position < low) continue;
      // They mostly follow one another.
      if (position !== to) {
        if (to > from) unsettled.addRange(from, to);
        from = position;
      }
      to = position + 1;
    }
    if (to > from) unsettled.addRange(from, to);
    return unsettled.ranges();
  }

  async #drain(): Promise<void> {
    // What is committed within the same turn goes out together.
    await undefined;
    while (this.#queue.length > 0) {
      const taken = this.#take();
      try {
        await this.#write(taken);
        for (const { resolve } of taken) resolve();
      } catch (error) {
        if (taken.length > 1 && isCode(error, "invalid")) await this.#writeEach(taken);
        else for (const { reject } of taken) reject(error);
      }
    }
    this.#draining = undefined;
  }

  /** Changes that only record progress are one change when they are taken together. */
  #take(): Waiting[] {
    let count = 1;
    if (this.#queue[0]!.appends.length === 0) {
      while (count < this.#queue.length && this.#queue[count]!.appends.length === 0) count += 1;
    }
    return this.#queue.splice(0, count);
  }

  /** One of them is wrong, and must not take the others with it. */
  async #writeEach(taken: readonly Waiting[]): Promise<void> {
    for (const each of taken) {
      try {
        await this.#write([each]);
        each.resolve();
      } catch (error) {
        each.reject(error);
      }
    }
  }

  async #write(taken: readonly Waiting[]): Promise<void> {
    const { low } = this.#lane;
    const settled = settledBy(taken);
    const held = new Map<number, Held>();
    for (const each of taken) {
      for (const entry of each.held) if (entry.position >= low) held.set(Number(entry.position), entry);
    }
    const forgotten = this.#forgotten(settled, held);
    for (const position of held.keys()) this.#lane.heldPositions.add(position);
    const lowest = await this.#lane.opened.commit({ settled, held, forgotten, appends: taken[0]!.appends });
    if (lowest === undefined) throw this.#lane.superseded();
    for (const position of forgotten) this.#lane.heldPositions.delete(position);
    this.#lane.settled(settled, lowest);
  }

  /** Entries that go because their positions are settled. */
  #forgotten(settled: Ranges, held: Map<number, Held>): number[] {
    const { heldPositions } = this.#lane;
    const forgotten: number[] = [];
    if (heldPositions.size === 0) return forgotten;
    eachOf(settled, (position) => {
      if (!heldPositions.has(position)) return;
      forgotten.push(position);
      held.delete(position);
    });
    return forgotten;
  }
}

function settledBy(taken: readonly Waiting[]): Ranges {
  if (taken.length === 1) return taken[0]!.settled;
  const gathered = new Gathered();
  for (const { settled } of taken) gathered.addAll(settled);
  return gathered.ranges();
}

function checkHeld(lane: string, { position, failures, deliveries, dueAt }: Held): void {
  if (position < 0n) throw noSuchPosition(lane, position);
  if (isCount(failures) && isCount(deliveries) && Number.isFinite(dueAt)) return;
  const text = `a held entry of ${lane} needs whole failures and deliveries ≥ 0 and an instant dueAt`;
  throw new TenonError("invalid", text);
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}
