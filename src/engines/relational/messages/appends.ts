import type { Batch, MessageCapabilities } from "../../../contracts/messages.ts";
import { type Appended, AppendQueues } from "../../lanes/append-queues.ts";
import { type CheckedBatch, checkBatch } from "../../lanes/batches.ts";
import type { DatabaseConnection } from "../connection.ts";
import type { Transaction } from "../transaction.ts";
import type { MessageCommands } from "./commands.ts";
import type { Groups } from "./groups.ts";
import { KnownPartitions } from "./known-partitions.ts";
import { LimitMet, PartitionWriter, TopicGone } from "./partition-writer.ts";
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

/** Appending: one transaction is under way for each partition. */
export class Appends {
  readonly #parts: AppendParts;
  readonly #queues: AppendQueues;
  readonly #known: KnownPartitions;

  constructor(parts: AppendParts) {
    this.#parts = parts;
    this.#known = new KnownPartitions(parts.connection, parts.commands.appendNext);
    this.#queues = new AppendQueues((batches) => this.#send(batches), transactionBytesMax);
  }

  async append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return this.#queues.append(checkBatch(batch, this.#parts.capabilities));
  }

  async #send(checked: readonly CheckedBatch[]): Promise<readonly Appended[]> {
    const { batch } = checked[0]!;
    const { topics, connection } = this.#parts;
    return topics.during(batch.topic, async (topic) => {
      if (batch.partition >= topic.partitions) {
        return checked.map(() => ({ refused: "partition" as const, partitions: topic.partitions }));
      }
      const append = async () => {
        const { writer, answers } = await connection.transaction("an append", async (transaction) => {
          const appended = await this.#append(transaction, topic, checked);
          await appended.writer.finish();
          return appended;
        });
        this.#known.note(topic, batch.partition, writer.state);
        return answers;
      };
      const answers = (await this.#known.append(topic, checked)) ?? (await unlessGone(topic, append));
      if (answers !== undefined) this.#parts.trimmer.note(topic);
      return answers;
    });
  }

  /** Appends to one partition within a transaction. */
  async write(transaction: Transaction, topic: Topic, checked: readonly CheckedBatch[]): Promise<readonly Appended[]> {
    const { writer, answers } = await this.#append(transaction, topic, checked);
    await writer.write();
    return answers;
  }

  /** Nothing is written yet. */
  async #append(transaction: Transaction, topic: Topic, checked: readonly CheckedBatch[]) {
    const { commands, groups } = this.#parts;
    if (topic.limited) {
      await transaction.run(commands.lockLimit, [topic.id]);
      await groups.removeEnded(transaction, topic.id);
    }
    const { partition } = checked[0]!.batch;
    const { id, channel, limited } = topic;
    const parts = { commands, topic: id, partition, channel, limited };
    const writer = await PartitionWriter.lock(transaction, parts, checked);
    return { writer, answers: await writer.append() };
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
