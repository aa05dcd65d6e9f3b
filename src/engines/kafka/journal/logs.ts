import type { ByteReader, ByteWriter } from "../../lanes/index.ts";
import { JournaledLog } from "./log.ts";
import type { CommittedCommand, DeclareLogCommand, WriterCommand } from "./log-commands.ts";

/** Kafka's epochs of one producer fit between the epochs that two of its numbers begin with. */
const epochsEach = 2 ** 16;

/** A writer as of its last opening. */
export interface JournaledWriter {
  /** What the contract calls its epoch. */
  readonly epoch: number;
  readonly kafkaId: string;
  readonly kafkaEpoch: number;
}

export type DeclaredLog =
  | { readonly refused?: undefined; readonly log: number }
  | { readonly refused: "partitions"; readonly partitions: number }
  | { readonly refused: "removed" | "other" };

/** The logs, their readers, and the writers. */
export class JournaledLogs {
  readonly #logs = new Map<string, JournaledLog>();
  readonly #writers = new Map<string, JournaledWriter>();

  named(name: string): JournaledLog | undefined {
    return this.#logs.get(name);
  }

  numbered(number: number): JournaledLog | undefined {
    for (const log of this.#logs.values()) if (log.number === number) return log;
    return undefined;
  }

  get all(): Iterable<JournaledLog> {
    return this.#logs.values();
  }

  get names(): readonly string[] {
    return [...this.#logs.keys()].sort();
  }

  writer(name: string): JournaledWriter | undefined {
    return this.#writers.get(name);
  }

  declare(command: DeclareLogCommand, newNumber: () => number): DeclaredLog {
    const { name, kafkaId, partitions } = command;
    const known = this.#logs.get(name);
    if (known !== undefined && known.partitions !== partitions) {
      return { refused: "partitions", partitions: known.partitions };
    }
    if (known !== undefined && known.kafkaId !== kafkaId) return { refused: "other" };
    const log = known ?? new JournaledLog(command, newNumber());
    log.set(command);
    this.#logs.set(name, log);
    return { log: log.number };
  }

  remove(name: string): JournaledLog | undefined {
    const log = this.#logs.get(name);
    this.#logs.delete(name);
    return log;
  }

  /**
   * Answers the epoch of this opening. Epochs are in the order in which Kafka counted them, whoever was heard of first: another number of Kafka's for the same name follows
   * when the former one has no epochs left, or was forgotten because it was silent for long.
   */
  open({ name, kafkaId, kafkaEpoch }: WriterCommand): number {
    const known = this.#writers.get(name);
    const first = known === undefined ? 0 : known.epoch - known.kafkaEpoch;
    const epoch = (known === undefined || known.kafkaId === kafkaId ? first : first + epochsEach) + kafkaEpoch;
    if (known === undefined || epoch > known.epoch) this.#writers.set(name, { epoch, kafkaId, kafkaEpoch });
    return epoch;
  }

  /** A log that was removed meanwhile is left out. */
  committed({ writer, positions, sequences }: CommittedCommand): void {
    for (const [log, partition, reader, position] of positions) this.numbered(log)?.stand(reader, partition, position);
    for (const [log, partition, sequence] of sequences) this.numbered(log)?.noteSequence(writer, partition, sequence);
  }

  encode(writer: ByteWriter): void {
    writer.whole(this.#logs.size);
    for (const log of this.#logs.values()) log.encode(writer);
    writer.whole(this.#writers.size);
    for (const [name, { epoch, kafkaId, kafkaEpoch }] of this.#writers) {
      writer.text(name).whole(epoch).text(kafkaId).whole(kafkaEpoch);
    }
  }

  static decode(reader: ByteReader): JournaledLogs {
    const logs = new JournaledLogs();
    for (let left = reader.whole(); left > 0; left--) {
      const log = JournaledLog.decode(reader);
      logs.#logs.set(log.name, log);
    }
    for (let left = reader.whole(); left > 0; left--) {
      const name = reader.text();
      logs.#writers.set(name, { epoch: reader.whole(), kafkaId: reader.text(), kafkaEpoch: reader.whole() });
    }
    return logs;
  }
}
