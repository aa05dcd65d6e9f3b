import { TenonError } from "../../../contracts/errors.ts";
import type { Batch, MessageCapabilities } from "../../../contracts/messages.ts";
import { checkBatch, refusedBatch, topicNotFound } from "../../lanes/index.ts";
import type { ProducerOptions } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { failureOf } from "../failures.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledTopic } from "../journal/topic.ts";
import { produce } from "../requests.ts";
import { admitted } from "./admissions.ts";
import { isMarked, type MarkedBatch, Producers } from "./producers.ts";
import { recordOf } from "./records.ts";
import type { Topics } from "./topics.ts";
import type { Trimmer } from "./trimmer.ts";
import { settle, type Waiting } from "./waiting.ts";

/** About so much of batches without a producer goes out as one batch. */
const requestBytesMax = 1024 * 1024;

export interface AppendParts {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly topics: Topics;
  readonly trimmer: Trimmer;
  readonly capabilities: MessageCapabilities;
}

/** Appending: one request is under way for each partition, which keeps the order of the calls. */
export class Appends {
  readonly #parts: AppendParts;
  readonly #producers: Producers;
  readonly #queues = new Map<string, Waiting[]>();

  constructor(parts: AppendParts) {
    this.#parts = parts;
    this.#producers = new Producers(parts.cluster, parts.journal, topicNotFound);
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return new Promise((resolve, reject) => {
      const checked = checkBatch(batch, this.#parts.capabilities);
      refuseDelays(batch);
      const waiting: Waiting = { checked, resolve, reject };
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
        // What has to wait for those before it comes next.
        queue.unshift(...(await this.#send(taken)));
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    this.#queues.delete(name);
  }

  /** Answers which of them have to be sent again. */
  async #send(taken: readonly Waiting[]): Promise<readonly Waiting[]> {
    const { topics, journal } = this.#parts;
    const name = taken[0]!.checked.batch.topic;
    try {
      return await this.#sendTo(await topics.find(name), taken);
    } catch (error) {
      if (!(error instanceof Moved)) throw error;
      await journal.reach("an append", name);
      return this.#sendTo(await topics.find(name), taken);
    }
  }

  async #sendTo(topic: JournaledTopic, taken: readonly Waiting[]): Promise<readonly Waiting[]> {
    const { batch } = taken[0]!.checked;
    if (batch.partition >= topic.partitions) {
      throw refusedBatch(batch, { refused: "partition", partitions: topic.partitions });
    }
    const isRepeated =
      topic.countMax !== undefined && isMarked(batch) && (await this.#producers.hasStored(topic, batch));
    if (topic.countMax === undefined || isRepeated) {
      settle(taken, await this.#store(topic, taken));
      this.#parts.trimmer.note(topic);
      return [];
    }
    return admitted(this.#parts, topic, taken, (fitting) => this.#store(topic, fitting));
  }

  /** Answers the first position. */
  #store(topic: JournaledTopic, taken: readonly Waiting[]): Promise<number> {
    const { batch } = taken[0]!.checked;
    return isMarked(batch) ? this.#storeMarked(topic, batch, taken) : this.#storeUnmarked(topic, batch, taken);
  }

  async #storeMarked(topic: JournaledTopic, batch: MarkedBatch, taken: readonly Waiting[]): Promise<number> {
    const options = await this.#producers.optionsFor(topic, batch);
    try {
      const first = await this.#produce(topic, batch.partition, taken, options);
      this.#producers.noteStored(topic, batch);
      return first;
    } catch (error) {
      throw await this.#producers.refusalOf(error, topic, batch);
    }
  }

  async #storeUnmarked(topic: JournaledTopic, { partition }: Batch, taken: readonly Waiting[]): Promise<number> {
    try {
      return await this.#produce(topic, partition, taken);
    } catch (error) {
      throw failureOf(error, "an append", "unknown");
    }
  }

  #produce(
    topic: JournaledTopic,
    partition: number,
    taken: readonly Waiting[],
    producer?: ProducerOptions,
  ): Promise<number> {
    const { cluster, topics } = this.#parts;
    const { kafkaName } = topic;
    const asked = { what: "an append", outcome: "unknown", check: () => topics.checkThere(topic) } as const;
    return cluster.leader(asked, kafkaName, partition, (connection, place) => {
      if (place.id !== topic.kafkaId) throw new Moved(topic);
      // The client changes what it is given, so that each try needs its own.
      const records = taken.flatMap(({ checked }) =>
        checked.batch.messages.map((message) => recordOf(message, kafkaName, partition)),
      );
      return produce(cluster.client, connection, cluster.commandTimeoutMs, records, producer);
    });
  }
}

/** Kafka's topic is another one than the journal says, as far as this engine has read. */
class Moved extends TenonError {
  constructor({ name, kafkaName }: JournaledTopic) {
    const text = `Kafka's topic ${kafkaName} is not the one that topic ${name} was declared on: somebody else has deleted that one; remove the topic, and declare it anew`;
    super("conflict", text, { fields: { topic: name, kafkaName } });
  }
}

function refuseDelays({ topic, messages }: Batch): void {
  if (messages.every(({ dueAt }) => dueAt === undefined)) return;
  const text = `a message for topic ${topic} has dueAt, and Kafka delays none; leave it out, or take an engine with the capability delay`;
  throw new TenonError("unsupported", text, { fields: { topic } });
}

/** One batch with a producer's mark, or several without. */
function take(queue: Waiting[]): Waiting[] {
  let count = 1;
  let bytes = queue[0]!.checked.bytes;
  if (queue[0]!.checked.batch.producer === undefined) {
    for (; count < queue.length && queue[count]!.checked.batch.producer === undefined; count++) {
      bytes += queue[count]!.checked.bytes;
      if (bytes > requestBytesMax) break;
    }
  }
  return queue.splice(0, count);
}
