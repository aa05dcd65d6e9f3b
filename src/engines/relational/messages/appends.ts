import type { Batch, MessageCapabilities } from "../../../contracts/messages.ts";
import { type CheckedBatch, checkBatch, refusedBatch } from "../../lanes/batches.ts";
import type { Positions } from "../../lanes/producer-marks.ts";
import type { DatabaseConnection, Transaction } from "../connection.ts";
import type { MessageCommands } from "./commands.ts";
import type { Groups } from "./groups.ts";
import { type Appended, LimitMet, PartitionWriter, TopicGone } from "./partition-writer.ts";
import type { Topic, Topics } from "./topics.ts";
import type { Trimmer } from "./trimmer.ts";

/** About so much goes with one transaction. */
const transactionBytesMax = 4 * 1024 * 1024;

export interface AppendParts {
  readonly connection: DatabaseConnection;
  readonly commands: MessageCommands;
  readonly topics: Topics;
  readonly groups: Groups;
  readonly trimmer: Trimmer;
  readonly capabilities: MessageCapabilities;
}

interface Waiting {
  readonly checked: CheckedBatch;
  readonly resolve: (positions: (bigint | undefined)[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Appending: one transaction is under way for each partition, and takes what gathered while the one before it was; that keeps the order of the calls. */
export class Appends {
  readonly #parts: AppendParts;
  readonly #queues = new Map<string, Waiting[]>();

  constructor(parts: AppendParts) {
    this.#parts = parts;
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { checked: checkBatch(batch, this.#parts.capabilities), resolve, reject };
      const name = `${batch.partition}/${batch.topic}`;
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
      const taken = take(queue);
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
    const { topics, connection } = this.#parts;
    return topics.during(batch.topic, async (topic) => {
      if (batch.partition >= topic.partitions) {
        return taken.map(() => ({ refused: "partition" as const, partitions: topic.partitions }));
      }
      const checked = taken.map((each) => each.checked);
      const append = () =>
        connection.transaction("an append", (transaction) => this.write(transaction, topic, checked));
      const answers = await unlessGone(topic, append);
      if (answers !== undefined) this.#parts.trimmer.note(topic, batch.partition);
      return answers;
    });
  }

  /** Appends to one partition within a transaction. */
  async write(transaction: Transaction, topic: Topic, checked: readonly CheckedBatch[]): Promise<readonly Appended[]> {
    const { commands, groups } = this.#parts;
    if (topic.limited) {
      await transaction.run(commands.lockLimit, [topic.id]);
      await groups.removeEnded(transaction, topic.id);
    }
    const { partition } = checked[0]!.batch;
    const { id, channel, limited } = topic;
    const writer = await PartitionWriter.lock(transaction, { commands, topic: id, partition, channel, limited });
    const answers = await writer.append(checked);
    await writer.write();
    return answers;
  }
}

/** `undefined` when the topic is gone; when it turns out to be limited, it is appended to as such. */
export async function unlessGone<T>(topic: Topic, append: () => Promise<T>): Promise<T | undefined> {
  for (;;) {
    try {
      return await append();
    } catch (error) {
      if (error instanceof TopicGone) return undefined;
      if (!(error instanceof LimitMet) || topic.limited) throw error;
      topic.limited = true;
    }
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

function take(queue: Waiting[]): Waiting[] {
  let count = 0;
  let bytes = 0;
  for (; count < queue.length; count++) {
    bytes += queue[count]!.checked.bytes;
    if (count > 0 && bytes > transactionBytesMax) break;
  }
  return queue.splice(0, count);
}
