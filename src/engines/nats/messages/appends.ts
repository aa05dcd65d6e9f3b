import type { Batch, MessageCapabilities } from "../../../contracts/messages.ts";
import { type Appended, AppendQueues } from "../../lanes/append-queues.ts";
import { type CheckedBatch, checkBatch } from "../../lanes/batches.ts";
import type { PartitionKeeper } from "./partition-keeper.ts";
import type { Topics } from "./topics.ts";

export interface AppendParts {
  readonly topics: Topics;
  readonly keeper: PartitionKeeper;
  readonly capabilities: MessageCapabilities;
}

/** What a batch takes in a run beside its messages. */
const batchBytes = 32;

/** Appending: one run is under way for each partition, and is one message of the server. */
export class Appends {
  readonly #parts: AppendParts;
  readonly #queues: AppendQueues;

  constructor(parts: AppendParts) {
    this.#parts = parts;
    this.#queues = new AppendQueues((batches) => this.#send(batches), parts.capabilities.batchBytesMax, batchBytes);
  }

  async append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return this.#queues.append(checkBatch(batch, this.#parts.capabilities));
  }

  appendChecked(checked: CheckedBatch): Promise<readonly (bigint | undefined)[]> {
    return this.#queues.append(checked);
  }

  #send(batches: readonly CheckedBatch[]): Promise<readonly Appended[]> {
    const { batch } = batches[0]!;
    const { topics, keeper } = this.#parts;
    return topics.places.during<readonly Appended[]>(batch.topic, async (topic) => {
      if (batch.partition >= topic.partitions) {
        return batches.map(() => ({ refused: "partition" as const, partitions: topic.partitions }));
      }
      const answers = await topic.chain(batch.partition).append(batches);
      if (answers !== undefined) keeper.note(topic, batch.partition);
      return answers;
    });
  }
}
