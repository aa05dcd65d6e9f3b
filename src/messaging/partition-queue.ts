import type { Batch, NewMessage } from "../contracts/messages.ts";
import type { Numbering } from "./numbering.ts";

/** What a publisher learns. */
export interface Receipt {
  readonly partition: number;
  /** `undefined` for a delayed message, which has none before it is due. */
  readonly position: bigint | undefined;
}

export type Resolve = (receipt: Receipt) => void;
export type Reject = (error: unknown) => void;

/** Messages of one partition and their publishers, in order, as parallel arrays: no object per message. */
export class Publications {
  readonly messages: NewMessage[] = [];
  /** `undefined` where the publisher has been answered already. */
  readonly resolves: (Resolve | undefined)[] = [];
  readonly rejects: (Reject | undefined)[] = [];
  readonly deadlines: number[] = [];
  readonly sizes: number[] = [];
  sizeBytes = 0;

  add(
    message: NewMessage,
    sizeBytes: number,
    deadline: number,
    resolve: Resolve | undefined,
    reject: Reject | undefined,
  ): void {
    this.messages.push(message);
    this.resolves.push(resolve);
    this.rejects.push(reject);
    this.deadlines.push(deadline);
    this.sizes.push(sizeBytes);
    this.sizeBytes += sizeBytes;
  }

  /** The first ones, as many as a batch may hold, and at least one; `undefined` when that is all of them. */
  cut(bytesMax: number, countMax: number): Publications | undefined {
    if (this.sizeBytes <= bytesMax && this.messages.length <= countMax) return undefined;
    let count = 0;
    let sizeBytes = 0;
    while (count < this.messages.length && count < countMax) {
      const size = this.sizes[count]!;
      if (count > 0 && sizeBytes + size > bytesMax) break;
      sizeBytes += size;
      count += 1;
    }
    const first = new Publications();
    moveFirst(this.messages, first.messages, count);
    moveFirst(this.resolves, first.resolves, count);
    moveFirst(this.rejects, first.rejects, count);
    moveFirst(this.deadlines, first.deadlines, count);
    moveFirst(this.sizes, first.sizes, count);
    first.sizeBytes = sizeBytes;
    this.sizeBytes -= sizeBytes;
    return first;
  }

  /** Everything but what `drop` says, by index. */
  without(drop: (index: number) => boolean): Publications {
    const kept = new Publications();
    for (let index = 0; index < this.messages.length; index += 1) {
      if (drop(index)) continue;
      const { messages, sizes, deadlines, resolves, rejects } = this;
      kept.add(messages[index]!, sizes[index]!, deadlines[index]!, resolves[index], rejects[index]);
    }
    return kept;
  }

  rejectAll(error: unknown): void {
    for (const reject of this.rejects) reject?.(error);
  }
}

function moveFirst<T>(from: T[], to: T[], count: number): void {
  for (let index = 0; index < count; index += 1) to.push(from[index]!);
  from.splice(0, count);
}

/** A batch under way, repeated unchanged until its fate is known or nobody waits for it any more. */
export class Flight {
  readonly batch: Batch;
  readonly content: Publications;
  /** Publishers who still wait. */
  waiting: number;
  /** An attempt is at the engine now. */
  attempting = false;
  /** An attempt ended without the engine saying whether it was applied. */
  unknown = false;
  /** How many of its messages are numbered. */
  numbered = 0;
  /** Ends the pause between two attempts. */
  wake: AbortController | undefined;

  constructor(batch: Batch, content: Publications) {
    this.batch = batch;
    this.content = content;
    this.waiting = content.messages.length;
  }

  /** Answers one publisher of a batch that stays under way for the others, and for the sequence. */
  dismiss(index: number, reason: unknown): void {
    const { rejects, resolves } = this.content;
    rejects[index]?.(reason);
    rejects[index] = undefined;
    resolves[index] = undefined;
    this.waiting -= 1;
    // What stands behind it must not wait for an attempt that nobody needs.
    if (this.waiting === 0) this.wake?.abort();
  }

  resolveAll(positions: readonly (bigint | undefined)[]): void {
    const { partition } = this.batch;
    const { resolves } = this.content;
    for (let index = 0; index < resolves.length; index += 1) {
      resolves[index]?.({ partition, position: positions[index] });
    }
  }
}

/** What waits for one partition, what is on its way there, and how the next batch will be numbered. */
export class PartitionQueue {
  readonly partition: number;
  pending = new Publications();
  flight: Flight | undefined;
  /** Stands in the list of those that the next flush looks at. */
  dirty = false;
  epoch: number;
  sequence = 0;
  /** `undefined` when nobody looks for lost messages. */
  numbering: Numbering | undefined;

  constructor(partition: number, epoch: number) {
    this.partition = partition;
    this.epoch = epoch;
  }

  newEpoch(): void {
    this.epoch += 1;
    this.sequence = 0;
  }
}
