import { TenonError } from "../../../contracts/errors.ts";
import type { Batch, ProducerMark } from "../../../contracts/messages.ts";
import { refusedBatch } from "../../lanes/index.ts";
import type { ActiveProducer, ProducerOptions } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, failureOf, kafkaCode } from "../failures.ts";
import type { Journal } from "../journal/journal.ts";
import { type JournaledProducer, producerRenewalMs } from "../journal/producers.ts";

/** Kafka's sequences begin anew after so many. */
export const sequences = 2 ** 31;

/** A batch with the mark of its producer. */
export interface MarkedBatch extends Batch {
  readonly producer: ProducerMark;
}

type MarkedPlace = Pick<MarkedBatch, "partition" | "producer">;

/** A topic, or a log. */
export interface ProducedTo {
  readonly number: number;
  readonly name: string;
  readonly kafkaName: string;
}

export function isMarked(batch: Batch): batch is MarkedBatch {
  return batch.producer !== undefined;
}

/**
 * What producers of the contract are to Kafka. The journal says which of Kafka's producers a producer and its epoch are, so that another process can go on as the same one, and which epoch is the newest; Kafka
 * itself answers a repeated sequence, refuses a gap, and fences an older epoch wherever a newer one has written.
 */
export class Producers {
  readonly #cluster: Cluster;
  readonly #journal: Journal;
  readonly #notFound: (name: string) => TenonError;
  /** Those that a partition is known to remember. */
  readonly #remembered = new Set<string>();

  /** `notFound`: when the topic or log is gone. */
  constructor(cluster: Cluster, journal: Journal, notFound: (name: string) => TenonError) {
    this.#cluster = cluster;
    this.#journal = journal;
    this.#notFound = notFound;
  }

  /** What a request to Kafka has to say. */
  async optionsFor(topic: ProducedTo, batch: MarkedBatch): Promise<ProducerOptions> {
    const { sequence } = batch.producer;
    const known = await this.#open(topic, batch);
    const isKnownToRemember = sequence === 0 || this.#remembered.has(rememberedAs(topic, batch, known));
    // Of a producer that a partition does not know, or has forgotten, Kafka takes any sequence.
    if (!isKnownToRemember && (await this.#active(topic, batch, known)) === undefined) {
      throw refusedBatch(batch, { refused: "gap", expected: 0 });
    }
    return {
      producerId: BigInt(known.kafkaId),
      producerEpoch: known.kafkaEpoch,
      sequences: { getWithDefault: () => sequence % sequences },
    };
  }

  /** Whether the partition has this batch already, or one behind it. */
  async hasStored(topic: ProducedTo, batch: MarkedBatch): Promise<boolean> {
    return this.#has(topic, batch, await this.#open(topic, batch), batch.messages.length);
  }

  /** The same of so many messages of a producer's only epoch. Opens no producer. */
  async hasCopy(topic: ProducedTo, partition: number, producer: ProducerMark, count: number): Promise<boolean> {
    const known = this.#known(topic, { producer });
    return known !== undefined && this.#has(topic, { partition, producer }, known, count);
  }

  async #has(topic: ProducedTo, at: MarkedPlace, known: JournaledProducer, count: number): Promise<boolean> {
    const active = await this.#active(topic, at, known);
    if (active?.producerEpoch !== known.kafkaEpoch || active.lastSequence < 0) return false;
    const last = (at.producer.sequence + count - 1) % sequences;
    return (active.lastSequence - last + sequences) % sequences < sequences / 2;
  }

  noteStored(topic: ProducedTo, batch: MarkedBatch): void {
    const known = this.#known(topic, batch);
    if (known?.epoch === batch.producer.epoch) this.#remembered.add(rememberedAs(topic, batch, known));
  }

  /** What it means that Kafka did not take a batch. */
  async refusalOf(error: unknown, topic: ProducedTo, batch: MarkedBatch): Promise<TenonError> {
    const code = answeredCode(error);
    if (code === kafkaCode.invalidProducerEpoch) {
      await this.#journal.reach("an append", topic.name);
      const newest = this.#known(topic, batch)?.epoch ?? batch.producer.epoch;
      return refusedBatch(batch, { refused: "fenced", epoch: newest });
    }
    if (code === kafkaCode.outOfOrderSequence || code === kafkaCode.duplicateSequence) return outOfOrder(batch);
    return failureOf(error, "an append", "unknown");
  }

  #known({ number }: ProducedTo, { producer }: Pick<MarkedBatch, "producer">): JournaledProducer | undefined {
    return this.#journal.state.producersOf(number)?.get(producer.id);
  }

  /** The producer under this epoch; refuses an older one, and a newer one that does not begin at 0. */
  async #open(topic: ProducedTo, batch: MarkedBatch): Promise<JournaledProducer> {
    const { epoch } = batch.producer;
    let known = this.#known(topic, batch);
    if (known === undefined || known.epoch < epoch || !this.#isFresh(known)) known = await this.#register(topic, batch);
    if (known.epoch > epoch) throw refusedBatch(batch, { refused: "fenced", epoch: known.epoch });
    return known;
  }

  #isFresh({ since }: JournaledProducer): boolean {
    return this.#journal.state.now - since < producerRenewalMs;
  }

  async #register(topic: ProducedTo, batch: MarkedBatch): Promise<JournaledProducer> {
    const { id, epoch, sequence } = batch.producer;
    if (sequence !== 0) {
      // Before a gap is refused, what others opened has to be read.
      await this.#journal.reach("an append", topic.name);
      const known = this.#known(topic, batch);
      if (known === undefined || known.epoch < epoch) throw refusedBatch(batch, { refused: "gap", expected: 0 });
    }
    const kafkaId = this.#known(topic, batch)?.kafkaId ?? (await this.#newId());
    const opened = await this.#journal.submit<"producer">(
      { kind: "producer", topic: topic.number, producer: id, epoch, kafkaId },
      "opening a producer",
    );
    if (opened === undefined) throw this.#notFound(topic.name);
    return opened;
  }

  async #newId(): Promise<string> {
    const { client } = this.#cluster;
    const asked = { what: "opening a producer", outcome: "not-applied" } as const;
    try {
      const { producerId } = await this.#cluster.anywhere(asked, (connection) =>
        client.initProducerIdV4.api.async(connection, null, 60_000, -1n, -1),
      );
      return String(producerId);
    } catch (error) {
      throw failureOf(error, asked.what, "not-applied");
    }
  }

  /** The producer as the partition remembers it. */
  async #active(
    topic: ProducedTo,
    { partition }: Pick<Batch, "partition">,
    { kafkaId }: JournaledProducer,
  ): Promise<ActiveProducer | undefined> {
    const check = () => {
      if (this.#journal.state.producersOf(topic.number) === undefined) throw this.#notFound(topic.name);
    };
    const asked = { what: "an append", outcome: "not-applied", check } as const;
    const topics = [{ name: topic.kafkaName, partitionIndexes: [partition] }];
    const { client } = this.#cluster;
    try {
      const answer = await this.#cluster.leader(asked, topic.kafkaName, partition, (connection) =>
        client.describeProducersV0.api.async(connection, topics),
      );
      const producers = answer.topics[0]?.partitions[0]?.activeProducers ?? [];
      return producers.find(({ producerId }) => producerId === BigInt(kafkaId));
    } catch (error) {
      throw failureOf(error, asked.what, "not-applied");
    }
  }
}

function rememberedAs(
  { number }: ProducedTo,
  { partition }: Batch,
  { kafkaId, kafkaEpoch }: JournaledProducer,
): string {
  return `${number}/${partition}/${kafkaId}/${kafkaEpoch}`;
}

function outOfOrder({ topic, producer: { id, epoch, sequence } }: MarkedBatch): TenonError {
  const text = `producer ${id} sent sequence ${sequence}, which is not the next one and begins none of its last five batches: one is missing, or was changed, or is repeated long after`;
  return new TenonError("conflict", text, { fields: { topic, producer: id, epoch, sequence } });
}
