import type { ByteReader, ByteWriter } from "../../lanes/index.ts";
import { JournaledLog } from "./log.ts";
import type { CommittedCommand, DeclareLogCommand, WriterCommand } from "./log-commands.ts";

/** A writer as of its last opening. */
export interface JournaledWriter {
  /** What the contract calls its epoch. */
  readonly epoch: number;
  readonly kafkaId: string;
  readonly kafkaEpoch: number;
  /** The number that it had before; `""`: none. */
  readonly former: string;
}

export type DeclaredLog =
  | { readonly refused?: undefined; readonly log: number }
  | { readonly refused: "partitions"; readonly partitions: number }
  | { readonly refused: "removed" | "other" };

export type Opened =
  | { readonly refused?: undefined; readonly epoch: number }
  | { readonly refused: "fenced" | "superseded" };

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
   * Epochs count the openings that were written down; Kafka's own begin anew with another number, when the former one has none left or was forgotten. `"superseded"`: Kafka has
   * fenced this producer by a later one, which was written down before it.
   */
  open({ name, kafkaId, kafkaEpoch, epoch }: WriterCommand): Opened {
    const known = this.#writers.get(name);
    if (epoch !== null && epoch !== known?.epoch) return { refused: "fenced" };
    const isSame = known?.kafkaId === kafkaId;
    if (known?.former === kafkaId || (isSame && known.kafkaEpoch >= kafkaEpoch)) return { refused: "superseded" };
    const former = (isSame ? known.former : known?.kafkaId) ?? "";
    const opened = { epoch: epoch ?? (known?.epoch ?? 0) + 1, kafkaId, kafkaEpoch, former };
    this.#writers.set(name, opened);
    return { epoch: opened.epoch };
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
    for (const [name, { epoch, kafkaId, kafkaEpoch, former }] of this.#writers) {
      writer.text(name).whole(epoch).text(kafkaId).whole(kafkaEpoch).text(former);
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
      const [epoch, kafkaId, kafkaEpoch] = [reader.whole(), reader.text(), reader.whole()];
      logs.#writers.set(name, { epoch, kafkaId, kafkaEpoch, former: reader.text() });
    }
    return logs;
  }
}
