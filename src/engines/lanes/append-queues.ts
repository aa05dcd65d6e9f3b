import { type BatchRefusal, type CheckedBatch, type Misdirected, refusedBatch } from "./batches.ts";
import type { Positions } from "./producer-marks.ts";

export type Appended = { readonly positions: Positions } | BatchRefusal | Misdirected;

interface Waiting {
  readonly checked: CheckedBatch;
  readonly resolve: (positions: (bigint | undefined)[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Appending: one change is under way for each partition, and takes what gathered while the one before it was; that keeps the order of the calls. */
export class AppendQueues {
  readonly #send: (batches: readonly CheckedBatch[]) => Promise<readonly Appended[]>;
  readonly #bytesMax: number;
  readonly #batchBytes: number;
  readonly #queues = new Map<string, Waiting[]>();

  /** `send`: stores batches of one partition; about `bytesMax` go with one call. `batchBytes`: what a batch takes beside its messages. */
  constructor(
    send: (batches: readonly CheckedBatch[]) => Promise<readonly Appended[]>,
    bytesMax: number,
    batchBytes = 0,
  ) {
    this.#send = send;
    this.#bytesMax = bytesMax;
    this.#batchBytes = batchBytes;
  }

  append(checked: CheckedBatch): Promise<readonly (bigint | undefined)[]> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { checked, resolve, reject };
      const name = `${checked.batch.partition}/${checked.batch.topic}`;
      const queue = this.#queues.get(name);
      if (queue !== undefined) {
        queue.push(waiting);
        return;
      }
      const started = [waiting];
      this.#queues.set(name, started);
      void this.#drain(name, started);
    });
  }

  async #drain(name: string, queue: Waiting[]): Promise<void> {
    // What is appended within the same turn goes out together.
    await undefined;
    while (queue.length > 0) {
      const taken = this.#take(queue);
      try {
        const answers = await this.#send(taken.map(({ checked }) => checked));
        for (const [index, answer] of answers.entries()) settle(taken[index]!, answer);
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    this.#queues.delete(name);
  }

  #take(queue: Waiting[]): Waiting[] {
    let count = 0;
    let bytes = 0;
    for (; count < queue.length; count++) {
      bytes += queue[count]!.checked.bytes + this.#batchBytes;
      if (count > 0 && bytes > this.#bytesMax) break;
    }
    return queue.splice(0, count);
  }
}

function settle({ checked, resolve, reject }: Waiting, answer: Appended): void {
  if ("refused" in answer) reject(refusedBatch(checked.batch, answer));
  else resolve(positionsOf(answer.positions, checked.batch.messages.length));
}

function positionsOf(positions: Positions, count: number): (bigint | undefined)[] {
  if (typeof positions === "number") return Array.from({ length: count }, (_, index) => BigInt(positions + index));
  return positions.map((position) => (position < 0 ? undefined : BigInt(position)));
}
