/** Single requests of Kafka's protocol for the transactions of one writer. */
import { isCode, TenonError } from "../../../contracts/errors.ts";
import type { KafkaConnection, NewKafkaRecord } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, failureOf, plain } from "../failures.ts";
import { produce } from "../requests.ts";

/** Who writes in Kafka's eyes: a number, and how often it was opened. */
export interface TransactionalProducer {
  readonly id: bigint;
  readonly epoch: number;
}

export interface TransactionPlace {
  readonly topic: string;
  readonly partition: number;
}

export class Transactions {
  readonly #cluster: Cluster;
  readonly #prefix: string;
  /** After this time Kafka gives up a transaction that was left open. */
  readonly timeoutMs: number;

  constructor(cluster: Cluster, prefix: string, timeoutMs: number) {
    this.#cluster = cluster;
    this.#prefix = prefix;
    this.timeoutMs = timeoutMs;
  }

  /** The next producer under this name: when it is answered, former ones are fenced, and what they left open is decided. */
  async open(writer: string): Promise<TransactionalProducer> {
    const asked = { what: "opening a writer", outcome: "unknown" } as const;
    const name = this.#idOf(writer);
    const opened = await this.#cluster.coordinator(asked, name, (connection) =>
      this.#cluster.client.initProducerIdV4.api.async(connection, name, this.timeoutMs, -1n, -1),
    );
    return { id: opened.producerId, epoch: opened.producerEpoch };
  }

  /** Begins a transaction that writes to these places. May be repeated. */
  async begin(writer: string, producer: TransactionalProducer, places: readonly TransactionPlace[]): Promise<void> {
    const asked = { what: "beginning a commit", outcome: "not-applied" } as const;
    const name = this.#idOf(writer);
    const topics = [...Map.groupBy(places, ({ topic }) => topic)].map(([topic, each]) => ({
      name: topic,
      partitions: each.map(({ partition }) => partition),
    }));
    const { id: producerId, epoch: producerEpoch } = producer;
    const transaction = { transactionalId: name, producerId, producerEpoch, verifyOnly: false, topics };
    await this.#cluster.coordinator(asked, name, (connection) =>
      this.#cluster.client.addPartitionsToTxnV3.api.async(connection, [transaction]),
    );
  }

  /** Appends records to one of the places. Kafka knows them by their sequence when it is asked again. */
  append(
    writer: string,
    producer: TransactionalProducer,
    sequence: number,
    records: NewKafkaRecord[],
    connection: KafkaConnection,
  ): Promise<number> {
    const { client, commandTimeoutMs } = this.#cluster;
    return produce(client, connection, commandTimeoutMs, records, {
      transactionalId: this.#idOf(writer),
      producerId: producer.id,
      producerEpoch: producer.epoch,
      sequences: { getWithDefault: () => sequence },
    });
  }

  /** Ends the transaction. Whether it did, nobody knows unless it is answered. */
  async commit(writer: string, { id, epoch }: TransactionalProducer): Promise<void> {
    const what = "a commit";
    const name = this.#idOf(writer);
    let asked = 0;
    try {
      await this.#cluster.coordinator({ what, outcome: "unknown" }, name, (connection) => {
        asked += 1;
        return this.#cluster.client.endTxnV3.api.async(connection, name, id, epoch, true);
      });
    } catch (error) {
      // A coordinator that says it is none may have written it down before, and lets the next one end it.
      const isRefused =
        asked === 1 && answeredCode(error) !== undefined && failureOf(error, what, "unknown").outcome !== "unknown";
      if (asked === 0 || isRefused) throw error;
      throw unknownCommit(writer, error);
    }
  }

  #idOf(writer: string): string {
    return `${this.#prefix}-writer.${writer}`;
  }
}

function unknownCommit(writer: string, error: unknown): TenonError {
  const code = isCode(error, "closed") ? "closed" : "unavailable";
  const text = `Kafka did not say whether it committed what writer ${writer} wrote. Open the writer anew, which decides it, and look where the reader stands.`;
  return new TenonError(code, text, { outcome: "unknown", fields: { writer }, cause: plain(error) });
}
