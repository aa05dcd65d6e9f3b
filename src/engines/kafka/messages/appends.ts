import { isCode } from "../../../contracts/errors.ts";
import type { Batch, MessageCapabilities } from "../../../contracts/messages.ts";
import {
  type CheckedBatch,
  type Copying,
  checkBatch,
  isDelayed,
  isMisdirected,
  type Later,
  refusedBatch,
  refuseLaterName,
  topicNotFound,
} from "../../lanes/index.ts";
import type { ProducerOptions } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { failureOf } from "../failures.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledTopic } from "../journal/topic.ts";
import { produce } from "../requests.ts";
import { admitted } from "./admissions.ts";
import { isMarked, type MarkedBatch, Producers } from "./producers.ts";
import { recordOf } from "./records.ts";
import { OtherTopic, type Topics } from "./topics.ts";
import type { Trimmer } from "./trimmer.ts";
import { countOf, placesIn, settle, type Waiting } from "./waiting.ts";

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
  /** Keeps what is delayed. */
  readonly later: Later;
  readonly #parts: AppendParts;
  readonly #producers: Producers;
  readonly #queues = new Map<string, Waiting[]>();

  constructor(parts: AppendParts, later: (appends: Appends) => Later) {
    this.#parts = parts;
    this.later = later(this);
    this.#producers = new Producers(parts.cluster, parts.journal, topicNotFound);
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    try {
      refuseLaterName(batch.topic);
      const checked = checkBatch(batch, this.#parts.capabilities);
      return checked.special && batch.messages.some(isDelayed) ? this.#appendLater(batch) : this.#enqueue(checked);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** It may have been removed and declared anew, as this engine has read since. */
  async #appendLater(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    const { topics, journal } = this.#parts;
    const topic = await topics.find(batch.topic);
    try {
      return await this.later.append(topic, batch);
    } catch (error) {
      if (!isCode(error, "not-found")) throw error;
      await journal.reach("an append", batch.topic);
      const now = await topics.find(batch.topic);
      if (now.number === topic.number) throw error;
      return this.later.append(now, batch);
    }
  }

  /** Appends to the topic of this number, and keeps nothing for later. `isCounted`: there is room for it. */
  async appendTo(topicNumber: number, batch: Batch, isCounted = false): Promise<readonly (bigint | undefined)[]> {
    return this.#enqueue({ ...checkBatch(batch, this.#parts.capabilities), topicNumber, isCounted });
  }

  /** Appends to a topic that holds what is delayed. */
  async keep(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return this.#enqueue(checkBatch(batch, this.#parts.capabilities));
  }

  /** Whether what was begun to be copied is in the partition. */
  async hasCopy(topic: JournaledTopic, partition: number, { mark, positions }: Copying): Promise<boolean> {
    return this.#producers.hasCopy(topic, partition, mark, positions.length);
  }

  #enqueue(checked: CheckedBatch): Promise<readonly (bigint | undefined)[]> {
    const { batch } = checked;
    return new Promise((resolve, reject) => {
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
      if (!(error instanceof OtherTopic)) throw error;
      await journal.reach("an append", name);
      return this.#sendTo(await topics.find(name), taken);
    }
  }

  async #sendTo(topic: JournaledTopic, all: readonly Waiting[]): Promise<readonly Waiting[]> {
    const taken = all.filter(({ checked }) => !isMisdirected(checked, topic.number));
    for (const { checked, reject } of all) {
      if (isMisdirected(checked, topic.number)) reject(refusedBatch(checked.batch, { refused: "topic" }));
    }
    if (taken.length === 0) return [];
    const { batch } = taken[0]!.checked;
    if (batch.partition >= topic.partitions) {
      throw refusedBatch(batch, { refused: "partition", partitions: topic.partitions });
    }
    const isRepeated =
      topic.countMax !== undefined && isMarked(batch) && (await this.#producers.hasStored(topic, batch));
    const { isCounted = false } = taken[0]!.checked;
    if (topic.countMax === undefined || isRepeated || isCounted) {
      const first = await this.#store(topic, taken);
      settle(taken, first);
      this.#tell(topic, batch.partition, first, taken);
      this.#parts.trimmer.note(topic);
      return [];
    }
    return admitted(this.#parts, topic, taken, (fitting) => this.#store(topic, fitting));
  }

  /** Tells those who count where the partition ends, and that nobody has to settle the places of what is delayed; who consumes finds that, too. */
  #tell(topic: JournaledTopic, partition: number, first: number, taken: readonly Waiting[]): void {
    const empty = placesIn(taken, first);
    if (topic.countMax === undefined && (empty === undefined || empty.length === 0)) return;
    const end = first + taken.reduce((sum, each) => sum + countOf(each), 0);
    const command = { kind: "appended", topic: topic.number, partition, admission: "", end, empty } as const;
    this.#parts.journal.submit<"appended">(command, "an append").catch(() => undefined);
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
    const { kafkaName, kafkaId } = topic;
    const asked = { what: "an append", outcome: "unknown", check: () => topics.checkThere(topic), kafkaId } as const;
    return cluster.leader(asked, kafkaName, partition, (connection, place) => {
      if (place.id !== kafkaId) throw new OtherTopic(topic.name, kafkaName);
      // The client changes what it is given, so that each try needs its own.
      const records = taken.flatMap(({ checked }) =>
        checked.batch.messages.map((message) => recordOf(message, kafkaName, partition)),
      );
      return produce(cluster.client, connection, cluster.commandTimeoutMs, records, producer);
    });
  }
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
