import { TenonError } from "../../../contracts/errors.ts";
import type { Batch, MessageCapabilities, ProducerMark } from "../../../contracts/messages.ts";
import { type CheckedBatch, checkBatch, refusedBatch } from "../../lanes/index.ts";
import type { ProducerOptions } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, failureOf, kafkaCode } from "../failures.ts";
import type { Journal } from "../journal/journal.ts";
import { type JournaledProducer, type JournaledTopic, producerRenewalMs } from "../journal/topic.ts";
import { produce } from "../requests.ts";
import { recordOf } from "./records.ts";
import type { Topics } from "./topics.ts";
import type { Trimmer } from "./trimmer.ts";

/** About so much of batches without a producer goes out as one batch. */
const requestBytesMax = 1024 * 1024;
/** Kafka's sequences begin anew after so many. */
const sequences = 2 ** 31;

export interface AppendParts {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly topics: Topics;
  readonly trimmer: Trimmer;
  readonly capabilities: MessageCapabilities;
}

interface Waiting {
  readonly checked: CheckedBatch;
  readonly resolve: (positions: bigint[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Appending: one request is under way for each partition, which keeps the order of the calls. */
export class Appends {
  readonly #parts: AppendParts;
  readonly #queues = new Map<string, Waiting[]>();
  /** Producers that Kafka is known to remember, by topic and partition. */
  readonly #remembered = new Set<string>();

  constructor(parts: AppendParts) {
    this.#parts = parts;
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
        let position = await this.#send(taken);
        for (const { checked, resolve } of taken) {
          const first = position;
          resolve(checked.batch.messages.map((_, index) => BigInt(first + index)));
          position += checked.batch.messages.length;
        }
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    this.#queues.delete(name);
  }

  /** Answers the first position. */
  async #send(taken: readonly Waiting[]): Promise<number> {
    const { batch } = taken[0]!.checked;
    const topic = await this.#parts.topics.find(batch.topic);
    if (batch.partition >= topic.partitions) {
      throw refusedBatch(batch, { refused: "partition", partitions: topic.partitions });
    }
    const first =
      batch.producer === undefined
        ? await this.#produce(topic, batch.partition, taken)
        : await this.#produceAs(topic, batch, batch.producer, taken);
    this.#parts.trimmer.note(topic);
    return first;
  }

  async #produce(
    topic: JournaledTopic,
    partition: number,
    taken: readonly Waiting[],
    producer?: ProducerOptions,
  ): Promise<number> {
    const { cluster, topics } = this.#parts;
    const { kafkaName } = topic;
    const asked = { what: "an append", outcome: "unknown", check: () => topics.checkThere(topic) } as const;
    // The client changes what it is given, so that each try needs its own.
    return cluster
      .leader(asked, kafkaName, partition, (connection) => {
        const records = taken.flatMap(({ checked }) =>
          checked.batch.messages.map((message) => recordOf(message, kafkaName, partition)),
        );
        return produce(cluster.client, connection, cluster.commandTimeoutMs, records, producer);
      })
      .catch((error: unknown) => {
        if (producer !== undefined && answeredCode(error) !== undefined) throw error;
        throw failureOf(error, "an append", "unknown");
      });
  }

  // With a producer's mark ---------------------------------------------------------------------------------------------

  /** Kafka itself knows a sequence again, refuses a gap, and an older epoch where a newer one has written. */
  async #produceAs(
    topic: JournaledTopic,
    batch: Batch,
    mark: ProducerMark,
    taken: readonly Waiting[],
  ): Promise<number> {
    const { epoch, sequence } = mark;
    const known = await this.#producer(topic, batch, mark);
    await this.#checkRemembered(topic, batch, mark, known);
    try {
      const first = await this.#produce(topic, batch.partition, taken, {
        producerId: BigInt(known.kafkaId),
        producerEpoch: known.kafkaEpoch,
        sequences: { getWithDefault: () => sequence % sequences },
      });
      this.#remembered.add(rememberedAs(topic, batch.partition, known));
      return first;
    } catch (error) {
      const code = answeredCode(error);
      if (code === kafkaCode.invalidProducerEpoch) {
        await this.#parts.journal.reach("an append", topic.name);
        const newest = this.#parts.journal.state.topic(topic.number)?.producers.get(mark.id)?.epoch ?? epoch;
        throw refusedBatch(batch, { refused: "fenced", epoch: newest });
      }
      if (code === kafkaCode.outOfOrderSequence || code === kafkaCode.duplicateSequence) throw outOfOrder(batch, mark);
      throw failureOf(error, "an append", "unknown");
    }
  }

  /** What the producer is to Kafka under this epoch. */
  async #producer(
    topic: JournaledTopic,
    batch: Batch,
    { id, epoch, sequence }: ProducerMark,
  ): Promise<JournaledProducer> {
    const { journal } = this.#parts;
    let known = journal.state.topic(topic.number)?.producers.get(id);
    const isFresh = known !== undefined && journal.state.now - known.since < producerRenewalMs;
    if (known === undefined || known.epoch < epoch || (known.epoch === epoch && !isFresh)) {
      if (sequence !== 0 && known?.epoch !== epoch) {
        // Before a gap is refused, what others opened has to be read.
        await journal.reach("an append", topic.name);
        known = journal.state.topic(topic.number)?.producers.get(id);
        if (known === undefined || known.epoch < epoch) throw refusedBatch(batch, { refused: "gap", expected: 0 });
      }
      const kafkaId = known?.kafkaId ?? (await this.#newId());
      known = await journal.submit<"producer">(
        { kind: "producer", topic: topic.number, producer: id, epoch, kafkaId },
        "opening a producer",
      );
      if (known === undefined) this.#parts.topics.checkThere(topic);
    }
    if (known === undefined) throw failureOf(new Error("the topic is gone"), "an append", "not-applied");
    if (known.epoch > epoch) throw refusedBatch(batch, { refused: "fenced", epoch: known.epoch });
    return known;
  }

  async #newId(): Promise<string> {
    const { cluster } = this.#parts;
    try {
      const { producerId } = await cluster.anywhere(
        { what: "asking for a producer's number", outcome: "not-applied" },
        (c) => cluster.client.initProducerIdV4.api.async(c, null, 60_000, -1n, -1),
      );
      return String(producerId);
    } catch (error) {
      throw failureOf(error, "opening a producer", "not-applied");
    }
  }

  /** Of a producer that a partition does not know, or has forgotten, Kafka takes any sequence. */
  async #checkRemembered(
    topic: JournaledTopic,
    batch: Batch,
    { sequence }: ProducerMark,
    { kafkaId, kafkaEpoch }: JournaledProducer,
  ): Promise<void> {
    const { partition } = batch;
    const name = rememberedAs(topic, partition, { kafkaId, kafkaEpoch });
    if (sequence === 0 || this.#remembered.has(name)) return;
    const { cluster } = this.#parts;
    const asked = { what: "an append", outcome: "not-applied" } as const;
    try {
      const topics = [{ name: topic.kafkaName, partitionIndexes: [partition] }];
      const answer = await cluster.leader(asked, topic.kafkaName, partition, (connection) =>
        cluster.client.describeProducersV0.api.async(connection, topics),
      );
      const producers = answer.topics[0]?.partitions[0]?.activeProducers ?? [];
      if (producers.some(({ producerId }) => producerId === BigInt(kafkaId))) return;
    } catch (error) {
      throw failureOf(error, "an append", "not-applied");
    }
    throw refusedBatch(batch, { refused: "gap", expected: 0 });
  }
}

function rememberedAs(
  { number }: JournaledTopic,
  partition: number,
  { kafkaId, kafkaEpoch }: Pick<JournaledProducer, "kafkaId" | "kafkaEpoch">,
): string {
  return `${number}/${partition}/${kafkaId}/${kafkaEpoch}`;
}

function refuseDelays({ topic, messages }: Batch): void {
  if (messages.every(({ dueAt }) => dueAt === undefined)) return;
  const text = `a message for topic ${topic} has dueAt, and Kafka delays none; leave it out, or take an engine with the capability delay`;
  throw new TenonError("unsupported", text, { fields: { topic } });
}

function outOfOrder({ topic }: Batch, { id, epoch, sequence }: ProducerMark): TenonError {
  const text = `producer ${id} sent sequence ${sequence}, which is not the next one and none of its last five batches: one is missing, or was changed, or repeated long after`;
  return new TenonError("conflict", text, { fields: { topic, producer: id, epoch, sequence } });
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
