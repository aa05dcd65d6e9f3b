import type { LogBatch, NewRecord } from "../../../contracts/log.ts";
import { checkLogPartition, logNotFound } from "../../../contracts/log-requests.ts";
import { toPosition } from "../../lanes/positions.ts";
import { InOrder } from "../../shared/in-order.ts";
import type { NewKafkaRecord, ProducerOptions } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { failureOf } from "../failures.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledLog } from "../journal/log.ts";
import { isMarked, Producers } from "../messages/producers.ts";
import { recordOf } from "../messages/records.ts";
import { produce } from "../requests.ts";
import { type Logs, MovedLog } from "./logs.ts";

/** Appending: one request is under way for each partition, which keeps the order of the calls. */
export class LogAppends {
  readonly #cluster: Cluster;
  readonly #logs: Logs;
  readonly #producers: Producers;
  readonly #order = new InOrder();

  constructor(cluster: Cluster, journal: Journal, logs: Logs) {
    this.#cluster = cluster;
    this.#logs = logs;
    this.#producers = new Producers(cluster, journal, logNotFound);
  }

  /** The batch keeps to the limits. */
  append(batch: LogBatch): Promise<readonly bigint[]> {
    return this.#order.run(`${batch.partition}/${batch.log}`, async () => {
      const first = await this.#append(batch);
      return batch.records.map((_, index) => toPosition(first + index));
    });
  }

  async #append(batch: LogBatch): Promise<number> {
    try {
      return await this.#appendTo(await this.#logs.find(batch.log), batch);
    } catch (error) {
      if (!(error instanceof MovedLog)) throw error;
      return this.#appendTo(await this.#logs.findNow(batch.log, "an append"), batch);
    }
  }

  async #appendTo(log: JournaledLog, { partition, records, producer }: LogBatch): Promise<number> {
    checkLogPartition(log.name, partition, log.partitions);
    const marked = { topic: log.name, partition, messages: records, producer };
    if (!isMarked(marked)) {
      try {
        return await this.#produce(log, partition, records);
      } catch (error) {
        throw failureOf(error, "an append", "unknown");
      }
    }
    const options = await this.#producers.optionsFor(log, marked);
    try {
      const first = await this.#produce(log, partition, records, options);
      this.#producers.noteStored(log, marked);
      return first;
    } catch (error) {
      throw await this.#producers.refusalOf(error, log, marked);
    }
  }

  #produce(
    log: JournaledLog,
    partition: number,
    records: readonly NewRecord[],
    producer?: ProducerOptions,
  ): Promise<number> {
    const { client, commandTimeoutMs } = this.#cluster;
    return this.#logs.leader(log, partition, { what: "an append", outcome: "unknown" }, (connection) =>
      produce(client, connection, commandTimeoutMs, kafkaRecords(records, log.kafkaName, partition), producer),
    );
  }
}

/** The client changes what it is given, so that each try needs its own. */
export function kafkaRecords(records: readonly NewRecord[], kafkaName: string, partition: number): NewKafkaRecord[] {
  return records.map((record) => recordOf(record, kafkaName, partition));
}
