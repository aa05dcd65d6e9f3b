import { TenonError } from "../../../contracts/errors.ts";
import type { Batch } from "../../../contracts/messages.ts";
import { type Appended, AppendQueues } from "../../lanes/append-queues.ts";
import { type CheckedBatch, checkBatch } from "../../lanes/batches.ts";
import type { MessageParts } from "./parts.ts";
import type { Topics } from "./topics.ts";

/** About so much goes with one change of a partition, and is one message of the server; a batch that is larger goes alone. */
const changeBytesMax = 1024 * 1024;

export class Appends {
  readonly #parts: MessageParts;
  readonly #topics: Topics;
  readonly #queues: AppendQueues;

  constructor(parts: MessageParts, topics: Topics) {
    this.#parts = parts;
    this.#topics = topics;
    this.#queues = new AppendQueues((batches) => this.#send(batches), changeBytesMax);
  }

  async check(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return this.append(checkBatch(batch, this.#parts.capabilities));
  }

  async append(checked: CheckedBatch): Promise<readonly (bigint | undefined)[]> {
    const { topic, messages } = checked.batch;
    if (messages.some(({ dueAt }) => dueAt !== undefined)) {
      const text = `a message for topic ${topic} is delayed, and RabbitMQ delays none; leave dueAt out`;
      throw new TenonError("unsupported", text, { fields: { topic } });
    }
    return this.#queues.append(checked);
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
