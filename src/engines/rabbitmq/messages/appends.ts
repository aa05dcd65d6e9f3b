import type { Batch } from "../../../contracts/messages.ts";
import { type Appended, AppendQueues } from "../../lanes/append-queues.ts";
import { type CheckedBatch, checkBatch, isDelayed } from "../../lanes/batches.ts";
import type { Later } from "../../lanes/later/later.ts";
import { refuseLaterName } from "../../lanes/later/later-names.ts";
import type { MessageParts } from "./parts.ts";
import type { Topics } from "./topics.ts";

/** About so much goes with one change of a partition, and is one message of the server; a batch that is larger goes alone. */
const changeBytesMax = 1024 * 1024;

export class Appends {
  /** Keeps what is delayed. */
  readonly later: Later;
  readonly #parts: MessageParts;
  readonly #topics: Topics;
  readonly #queues: AppendQueues;

  constructor(parts: MessageParts, topics: Topics, later: (appends: Appends) => Later) {
    this.#parts = parts;
    this.#topics = topics;
    this.#queues = new AppendQueues((batches) => this.#send(batches), changeBytesMax);
    this.later = later(this);
  }

  check(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return this.append(checkBatch(batch, this.#parts.capabilities));
  }

  append(checked: CheckedBatch): Promise<readonly (bigint | undefined)[]> {
    const { batch, special } = checked;
    refuseLaterName(batch.topic);
    if (!special || !batch.messages.some(isDelayed)) return this.#queues.append(checked);
    return this.#topics.withPlace(batch.topic, (place) => this.later.append(place, batch));
  }

  /** Appends to the topic of this number, and keeps nothing for later. */
  appendTo(number: number, batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return this.#queues.append({ ...checkBatch(batch, this.#parts.capabilities), topicNumber: number });
  }

  /** Appends to a topic that holds what is delayed. */
  async keep(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return this.#queues.append(checkBatch(batch, this.#parts.capabilities));
  }

  #send(batches: readonly CheckedBatch[]): Promise<readonly Appended[]> {
    const { topic: name, partition } = batches[0]!.batch;
    return this.#topics.during<readonly Appended[]>(name, async (topic) => {
      if (partition >= topic.partitions) {
        return batches.map(() => ({ refused: "partition" as const, partitions: topic.partitions }));
      }
      return this.#parts.partitions.append(topic, partition, batches);
    });
  }
}
