import type { Batch, MessageCapabilities } from "../../../contracts/messages.ts";
import { type CheckedBatch, checkBatch, refusedBatch } from "../../lanes/batches.ts";
import type { Positions } from "../../lanes/producer-marks.ts";
import type { Appended } from "./partition-batches.ts";
import type { PartitionKeeper } from "./partition-keeper.ts";
import type { Topics } from "./topics.ts";

export interface AppendParts {
  readonly topics: Topics;
  readonly keeper: PartitionKeeper;
  readonly capabilities: MessageCapabilities;
}

interface Waiting {
  readonly checked: CheckedBatch;
  readonly resolve: (positions: (bigint | undefined)[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Appending: one run is under way for each partition, and takes what gathered while the one before it was; that keeps the order of the calls. */
export class Appends {
  readonly #parts: AppendParts;
  readonly #queues = new Map<string, Waiting[]>();

  constructor(parts: AppendParts) {
    this.#parts = parts;
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return new Promise((resolve, reject) => {
      this.#add({ checked: checkBatch(batch, this.#parts.capabilities), resolve, reject });
    });
  }

  appendChecked(checked: CheckedBatch): Promise<readonly (bigint | undefined)[]> {
    return new Promise((resolve, reject) => this.#add({ checked, resolve, reject }));
  }

  #add(waiting: Waiting): void {
    const { partition, topic } = waiting.checked.batch;
    const name = `${partition}/${topic}`;
    const queue = this.#queues.get(name);
    if (queue !== undefined) {
      queue.push(waiting);
      return;
    }
    const started = [waiting];
    this.#queues.set(name, started);
    void this.#drain(name, started);
  }

  async #drain(name: string, queue: Waiting[]): Promise<void> {
    // What is appended within the same turn goes out together.
    await undefined;
    while (queue.length > 0) {
      const taken = take(queue, this.#parts.capabilities.batchBytesMax);
      try {
        const answers = await this.#send(taken);
        for (const [index, answer] of answers.entries()) settle(taken[index]!, answer);
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    this.#queues.delete(name);
  }

  async #send(taken: readonly Waiting[]): Promise<readonly Appended[]> {
    const { batch } = taken[0]!.checked;
    const { topics, keeper } = this.#parts;
    return topics.during(batch.topic, async (topic) => {
      if (batch.partition >= topic.partitions) {
        return taken.map(() => ({ refused: "partition" as const, partitions: topic.partitions }));
      }
      const answers = await topic.chain(batch.partition).append(taken.map(({ checked }) => checked));
      if (answers !== undefined) keeper.note(topic, batch.partition);
      return answers;
    });
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

/** As much as goes with one message of the server. */
function take(queue: Waiting[], bytesMax: number): Waiting[] {
  let count = 0;
  let bytes = 0;
  for (; count < queue.length; count++) {
    bytes += queue[count]!.checked.bytes + 32;
    if (count > 0 && bytes > bytesMax) break;
  }
  return queue.splice(0, count);
}
