import { TenonError } from "../../../contracts/errors.ts";
import type { LogCommit, LogWriter } from "../../../contracts/log.ts";
import {
  checkLogPartition,
  checkPositionWithin,
  commitUnderWay,
  writerFenced,
} from "../../../contracts/log-requests.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, failureOf, kafkaCode } from "../failures.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledLog } from "../journal/log.ts";
import type { JournaledWriter } from "../journal/logs.ts";
import { type CommitPlan, type PlannedOutput, planOf } from "./commit-plan.ts";
import { kafkaRecords } from "./log-appends.ts";
import type { Logs } from "./logs.ts";
import type { PartitionReading } from "./partition-reading.ts";
import type { TransactionalProducer, Transactions } from "./transactions.ts";

export interface WriterParts {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly logs: Logs;
  readonly partitions: PartitionReading;
  readonly transactions: Transactions;
}

type Positions = readonly (readonly (bigint | undefined)[])[];

/** A writer as this process goes on with it. */
interface Session {
  readonly epoch: number;
  readonly producer: TransactionalProducer;
  /** By place, Kafka's sequence of the next record. */
  readonly next: Map<string, number>;
  /** By place, the last sequence of the contract that was stored in this session. */
  readonly stored: Map<string, number>;
}

/**
 * Writers are Kafka's transactional producers: the writer's name is the transactional id, opening it fences the former producer and decides its transaction. The journal says what a producer's epoch is as the contract counts.
 * What a commit says beside its outputs is a record of the journal in the same transaction.
 */
export class LogWriters {
  readonly #parts: WriterParts;
  /** By name; one whose last commit failed is not among them. */
  readonly #sessions = new Map<string, Session>();
  /** What a producer was that has to be followed before anything more is written, by name. */
  readonly #unsure = new Map<string, Session>();
  /** Commits under way, by writer and epoch. */
  readonly #committing = new Map<string, Promise<unknown>>();

  constructor(parts: WriterParts) {
    this.#parts = parts;
  }

  async open(name: string, logs: readonly string[]): Promise<LogWriter> {
    const { transactions, journal } = this.#parts;
    for (const log of logs) await this.#parts.logs.find(log);
    let producer: TransactionalProducer;
    try {
      producer = await transactions.open(name);
    } catch (error) {
      throw failureOf(error, "opening a writer", "unknown");
    }
    const command = { kind: "writer", name, kafkaId: String(producer.id), kafkaEpoch: producer.epoch } as const;
    const epoch = await journal.submit<"writer">(command, "opening a writer");
    // Of those that are opened at the same time, Kafka knows the one that it counted last.
    if (epoch === this.#newest(name)?.epoch) this.#keep(name, sessionOf(epoch, producer));
    return { name, epoch: BigInt(epoch), logs: [...logs] };
  }

  #keep(name: string, session: Session): Session {
    this.#unsure.delete(name);
    this.#sessions.set(name, session);
    return session;
  }

  #newest(name: string): JournaledWriter | undefined {
    return this.#parts.journal.state.logs.writer(name);
  }

  /** The change keeps to the limits. */
  async commit(writer: LogWriter, change: LogCommit): Promise<Positions> {
    const place = `${writer.epoch}/${writer.name}`;
    if (this.#committing.has(place)) throw commitUnderWay(writer.name);
    const committing = this.#commit(writer, change);
    this.#committing.set(
      place,
      committing.catch(() => undefined),
    );
    try {
      return await committing;
    } finally {
      this.#committing.delete(place);
    }
  }

  async #commit(writer: LogWriter, change: LogCommit): Promise<Positions> {
    const logs = await this.#check(change);
    const session = await this.#session(writer);
    const plan = planOf(writer.name, change, logs, session.stored);
    if (plan.isEmpty) await this.#checkNewest(writer);
    else await this.#carryOut(writer, session, plan);
    return plan.positions;
  }

  /** Answers the logs that the change is about. */
  async #check({ outputs = [], positions = [] }: LogCommit): Promise<ReadonlyMap<string, JournaledLog>> {
    const logs = new Map<string, JournaledLog>();
    for (const { log: name, partition } of [...outputs, ...positions]) {
      const log = logs.get(name) ?? (await this.#parts.logs.find(name));
      logs.set(name, log);
      checkLogPartition(name, partition, log.partitions);
    }
    const checks = positions.map(async (position) => {
      const end = await this.#parts.partitions.highest(logs.get(position.log)!, position.partition);
      checkPositionWithin(position, end);
    });
    await Promise.all(checks);
    return logs;
  }

  // Sessions -----------------------------------------------------------------------------------------------------------

  async #session(writer: LogWriter): Promise<Session> {
    const { name, epoch } = writer;
    const newest = this.#newest(name);
    if (newest !== undefined && epoch < newest.epoch) throw writerFenced(name, epoch);
    const session = this.#sessions.get(name);
    if (session?.epoch === Number(epoch)) return session;
    return this.#goOn(writer);
  }

  /** Goes on where another process stopped, or where nobody knows what Kafka made of the last commit. */
  async #goOn(writer: LogWriter): Promise<Session> {
    const { name, epoch } = writer;
    const { kafkaId, kafkaEpoch } = await this.#checkNewest(writer);
    const unsure = this.#unsure.get(name);
    const former = unsure?.epoch === Number(epoch) ? unsure.producer : { id: BigInt(kafkaId), epoch: kafkaEpoch };
    try {
      return this.#keep(name, sessionOf(Number(epoch), await this.#parts.transactions.goOn(name, former)));
    } catch (error) {
      if (isFencing(error) || answeredCode(error) === kafkaCode.invalidProducerIdMapping) {
        throw writerFenced(name, epoch);
      }
      throw notApplied(failureOf(error, "a commit", "not-applied"));
    }
  }

  async #checkNewest({ name, epoch }: LogWriter): Promise<JournaledWriter> {
    await this.#parts.journal.reach("a commit", null);
    const newest = this.#newest(name);
    if (newest === undefined || newest.epoch !== Number(epoch)) throw writerFenced(name, epoch);
    return newest;
  }

  // A transaction ------------------------------------------------------------------------------------------------------

  async #carryOut(writer: LogWriter, session: Session, plan: CommitPlan): Promise<void> {
    const { transactions } = this.#parts;
    const { name } = writer;
    this.#sessions.delete(name);
    this.#unsure.set(name, session);
    try {
      await this.#write(name, session, plan);
    } catch (error) {
      // Nobody reads past what it left open; so it is given up at once, where the servers answer.
      if (!isFencing(error)) await this.#goOn(writer).catch(() => undefined);
      throw await this.#failureOf(writer, error);
    }
    try {
      await transactions.commit(name, session.producer);
    } catch (error) {
      throw await this.#failureOf(writer, error);
    }
    for (const { place, last } of plan.outputs) if (last !== undefined) session.stored.set(place, last);
    // It may have been opened anew meanwhile.
    if (this.#unsure.get(name) === session) this.#keep(name, session);
  }

  async #write(name: string, session: Session, plan: CommitPlan): Promise<void> {
    const { transactions, journal } = this.#parts;
    const { producer } = session;
    const record = plan.committed && journal.recordOf(plan.committed);
    const places = plan.outputs.map(({ log, partition }) => ({ topic: log.kafkaName, partition }));
    if (record !== undefined) places.push({ topic: record.topic, partition: record.partition });
    await transactions.begin(name, producer, places);
    const writing = plan.outputs.map((output) => this.#writeOutput(name, session, output));
    if (record !== undefined) writing.push(this.#writeRecord(name, session, record));
    // Nothing of it may be under way any more when it fails.
    const written = await Promise.allSettled(writing);
    for (const each of written) if (each.status === "rejected") throw each.reason;
  }

  async #writeOutput(name: string, session: Session, output: PlannedOutput): Promise<void> {
    const { transactions, logs } = this.#parts;
    const { log, partition, place, records } = output;
    const sequence = session.next.get(place) ?? 0;
    const asked = { what: "a commit", outcome: "not-applied" } as const;
    output.first = await logs.leader(log, partition, asked, (connection) =>
      transactions.append(
        name,
        session.producer,
        sequence,
        kafkaRecords(records, log.kafkaName, partition),
        connection,
      ),
    );
    session.next.set(place, sequence + records.length);
  }

  async #writeRecord(name: string, session: Session, record: ReturnType<Journal["recordOf"]>): Promise<void> {
    const { transactions, cluster } = this.#parts;
    const sequence = session.next.get(journalPlace) ?? 0;
    const asked = { what: "a commit", outcome: "not-applied" } as const;
    await cluster.leader(asked, record.topic, record.partition, (connection) =>
      transactions.append(name, session.producer, sequence, [{ ...record }], connection),
    );
    session.next.set(journalPlace, sequence + 1);
  }

  async #failureOf({ name, epoch }: LogWriter, error: unknown): Promise<TenonError> {
    if (!isFencing(error) && !endedCodes.has(answeredCode(error) ?? 0)) {
      return failureOf(error, "a commit", "not-applied");
    }
    await this.#parts.journal.reach("a commit", null).catch(() => undefined);
    if ((this.#newest(name)?.epoch ?? 0) > epoch) return writerFenced(name, epoch);
    const text = `Kafka gave up what writer ${name} was committing: it took too long, or the writer is being opened anew. Nothing of it happened; open the writer anew, or try again`;
    return new TenonError("unavailable", text, { fields: { writer: name } });
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await Promise.all(this.#committing.values());
  }
}

const journalPlace = "journal";

/** Answers of Kafka's that end a transaction and not its producer. */
const endedCodes: ReadonlySet<number> = new Set([
  kafkaCode.outOfOrderSequence,
  kafkaCode.duplicateSequence,
  kafkaCode.invalidTransactionState,
  kafkaCode.invalidProducerIdMapping,
  kafkaCode.unknownProducer,
  kafkaCode.transactionAbortable,
]);

function sessionOf(epoch: number, producer: TransactionalProducer): Session {
  return { epoch, producer, next: new Map(), stored: new Map() };
}

function isFencing(error: unknown): boolean {
  const code = answeredCode(error);
  return code === kafkaCode.producerFenced || code === kafkaCode.invalidProducerEpoch;
}

/** Whatever became of the request, nothing of the change happened. */
function notApplied({ code, message, fields, cause }: TenonError): TenonError {
  return new TenonError(code, message, { fields, cause });
}
