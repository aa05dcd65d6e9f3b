import { TenonError } from "../../../contracts/errors.ts";
import type { LogCommit, LogWriter } from "../../../contracts/log.ts";
import { checkLogPartition, checkPositionWithin, writerFenced } from "../../../contracts/log-requests.ts";
import { InOrder } from "../../shared/in-order.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, failureOf, kafkaCode } from "../failures.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledLog } from "../journal/log.ts";
import { sequences } from "../messages/producers.ts";
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
 * Writers are Kafka's transactional producers: the writer's name is the transactional id, and the next producer under it fences the former one and decides its transaction. The journal says which writer a producer
 * belongs to, so that epochs go on where Kafka's begin anew. What a commit says beside its outputs is a record of the journal in the same transaction.
 */
export class LogWriters {
  readonly #parts: WriterParts;
  /** By name; one whose last commit failed is not among them. */
  readonly #sessions = new Map<string, Session>();
  /** By name. */
  readonly #opening = new InOrder();
  /** Commits under way, by writer and epoch. */
  readonly #committing = new Map<string, Promise<unknown>>();

  constructor(parts: WriterParts) {
    this.#parts = parts;
  }

  async open(name: string, logs: readonly string[]): Promise<LogWriter> {
    for (const log of logs) await this.#parts.logs.find(log);
    return this.#opening.run(name, async () => {
      const { epoch } = await this.#openNext(name, null);
      return { name, epoch: BigInt(epoch), logs: [...logs] };
    });
  }

  /** The next producer of Kafka's under this name. `epoch`: of the writer that it is to go on with; `null`: it is another one. */
  async #openNext(name: string, epoch: number | null): Promise<Session> {
    const { transactions, journal } = this.#parts;
    for (let tries = 0; tries < triesMax; tries++) {
      const producer = await transactions.open(name).catch((error: unknown) => {
        throw failureOf(error, "opening a writer", "unknown");
      });
      const place = { name, kafkaId: String(producer.id), kafkaEpoch: producer.epoch, epoch };
      const opened = await journal.submit<"writer">({ kind: "writer", ...place }, "opening a writer");
      if (opened.refused === undefined) return this.#keep(name, sessionOf(opened.epoch, producer));
      if (opened.refused === "fenced") throw writerFenced(name, BigInt(epoch ?? 0));
    }
    const text = `writer ${name} is opened by others all the time; try again later`;
    throw new TenonError("unavailable", text, { fields: { writer: name } });
  }

  /** Unless it was opened anew meanwhile. */
  #keep(name: string, session: Session): Session {
    if ((this.#sessions.get(name)?.epoch ?? 0) <= session.epoch) this.#sessions.set(name, session);
    return session;
  }

  /** The epoch of the last opening that this engine has read of; 0: of none. */
  #newest(name: string): number {
    return this.#parts.journal.state.logs.writer(name)?.epoch ?? 0;
  }

  /** The change keeps to the limits. */
  async commit(writer: LogWriter, change: LogCommit): Promise<Positions> {
    const place = `${writer.epoch}/${writer.name}`;
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
    if (epoch < this.#newest(name)) throw writerFenced(name, epoch);
    const session = this.#sessions.get(name);
    if (session?.epoch === Number(epoch)) return session;
    return this.#goOn(writer);
  }

  /** Goes on where another process stopped, or where nobody knows what Kafka made of the last commit: what that left open is given up. */
  async #goOn(writer: LogWriter): Promise<Session> {
    await this.#checkNewest(writer);
    try {
      return await this.#openNext(writer.name, Number(writer.epoch));
    } catch (error) {
      throw notApplied(failureOf(error, "a commit", "not-applied"));
    }
  }

  async #checkNewest({ name, epoch }: LogWriter): Promise<void> {
    await this.#parts.journal.reach("a commit", null);
    if (this.#newest(name) !== Number(epoch)) throw writerFenced(name, epoch);
  }

  // A transaction ------------------------------------------------------------------------------------------------------

  async #carryOut(writer: LogWriter, session: Session, plan: CommitPlan): Promise<void> {
    const { transactions } = this.#parts;
    const { name } = writer;
    this.#sessions.delete(name);
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
    this.#keep(name, session);
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
    session.next.set(place, (sequence + records.length) % sequences);
  }

  async #writeRecord(name: string, session: Session, record: ReturnType<Journal["recordOf"]>): Promise<void> {
    const { transactions, cluster } = this.#parts;
    const sequence = session.next.get(journalPlace) ?? 0;
    const asked = { what: "a commit", outcome: "not-applied" } as const;
    await cluster.leader(asked, record.topic, record.partition, (connection) =>
      transactions.append(name, session.producer, sequence, [{ ...record }], connection),
    );
    session.next.set(journalPlace, (sequence + 1) % sequences);
  }

  async #failureOf({ name, epoch }: LogWriter, error: unknown): Promise<TenonError> {
    if (!isFencing(error) && !endedCodes.has(answeredCode(error) ?? 0)) {
      return failureOf(error, "a commit", "not-applied");
    }
    await this.#parts.journal.reach("a commit", null).catch(() => undefined);
    if (this.#newest(name) > epoch) return writerFenced(name, epoch);
    const text = `Kafka gave up what writer ${name} was committing: it took too long, or the writer is being opened anew. Nothing of it happened; open the writer anew, or try again`;
    return new TenonError("unavailable", text, { fields: { writer: name } });
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    await Promise.all(this.#committing.values());
  }
}

const journalPlace = "journal";
/** So often an opening begins anew when others open the same name. */
const triesMax = 20;

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
