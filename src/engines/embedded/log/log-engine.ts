import type {
  LogBatch,
  LogCapabilities,
  LogCommit,
  LogDeclaration,
  LogDescription,
  LogEngine,
  LogOutput,
  LogPage,
  LogRead,
  LogWriter,
} from "../../../contracts/log.ts";
import {
  checkInstant,
  checkLogBatch,
  checkLogCommit,
  checkLogDeclaration,
  checkLogName,
  checkLogPartition,
  checkLogPartitions,
  checkLogRead,
  checkPositionWithin,
  commitUnderWay,
  logNotFound,
  writerFenced,
} from "../../../contracts/log-requests.ts";
import type { Core } from "../core.ts";
import type { EntryStore } from "../key-values/entry-store.ts";
import { type Effect, effectsBytes } from "../key-values/key-value-records.ts";
import { Appends, batchBytesMax, type CheckedBatch, checkBatch } from "../messages/appends.ts";
import { type LogRetention, partitionsMax, type Topic } from "../messages/catalogue.ts";
import type { MessageStore } from "../messages/message-store.ts";
import type { Queue } from "../messages/queues.ts";
import { LogReading } from "./log-reading.ts";
import { LogStates } from "./log-states.ts";

const forEver: LogRetention = { retentionMs: Number.POSITIVE_INFINITY, retentionBytes: Number.POSITIVE_INFINITY };

/** An output, and what of it is not stored yet. */
interface CheckedOutput {
  readonly queue: Queue;
  /** For each record of the output, its index among those that are stored now; -1: it is known. */
  readonly places: readonly number[];
  readonly fresh: CheckedBatch | undefined;
  readonly lastSequence: number | undefined;
}

/**
 * The `log` contract on the journal's state. A log is stored as a topic is: queues of runs. What a commit changes (runs, positions, sequences) is
 * written in one journal batch, which recovery keeps or cuts as a whole, and which becomes visible as a whole.
 */
export class EmbeddedLog implements LogEngine {
  readonly capabilities: LogCapabilities;
  readonly #store: MessageStore;
  readonly #core: Core;
  readonly #states: LogStates;
  readonly #appends: Appends;
  readonly #reading: LogReading;
  readonly #limits: { readonly keyBytesMax: number; readonly messageBytesMax: number };
  /** Writers with a commit under way, by name and epoch. */
  readonly #committing = new Set<string>();

  constructor(store: MessageStore, states: EntryStore, survives: LogCapabilities["survives"]) {
    this.#store = store;
    this.#core = store.core;
    this.#states = new LogStates(states);
    this.#reading = new LogReading(store);
    this.capabilities = {
      survives,
      transactions: true,
      sequences: true,
      deduplicate: true,
      instants: "exact",
      retentionLatenessMs: 10_000,
      partitionsMax,
      recordBytesMax: 4 * 1024 * 1024,
      keyBytesMax: 65_535,
      batchBytesMax,
      commitBytesMax: batchBytesMax,
    };
    this.#limits = { keyBytesMax: this.capabilities.keyBytesMax, messageBytesMax: this.capabilities.recordBytesMax };
    this.#appends = new Appends(store, this.#limits);
  }

  async declare(name: string, declaration: LogDeclaration): Promise<void> {
    this.#core.throwIfClosed();
    checkLogDeclaration(name, declaration, this.capabilities);
    let log = this.#store.catalogue.logs.get(name);
    if (log !== undefined) checkLogPartitions(name, log.queues.length, declaration.partitions);
    const former = log?.log ?? forEver;
    const { retentionMs = former.retentionMs, retentionBytes = former.retentionBytes } = declaration;
    if (log === undefined) log = this.#store.declareLog(name, declaration.partitions, { retentionMs, retentionBytes });
    else if (retentionMs !== former.retentionMs || retentionBytes !== former.retentionBytes)
      this.#store.changeLog(log, { retentionMs, retentionBytes });
    if (log.batch > this.#core.journal.durableBatch) await this.#core.journal.durable();
  }

  /** What it answers is durable, removals included. */
  async logs(): Promise<readonly string[]> {
    this.#core.throwIfClosed();
    const names = [...this.#store.catalogue.logs.keys()].sort();
    await this.#core.journal.durable();
    return names;
  }

  async remove(name: string): Promise<void> {
    this.#core.throwIfClosed();
    this.#store.removeTopic(this.#log(name));
    this.#sweep();
    await this.#core.journal.durable();
  }

  async describe(name: string): Promise<LogDescription> {
    this.#core.throwIfClosed();
    if (!this.#store.catalogue.logs.has(name)) await this.#core.journal.durable();
    const log = this.#log(name);
    const { retentionMs, retentionBytes } = log.log!;
    const partitions = log.queues.map(({ start, next, appendedAt }) => ({
      first: BigInt(start),
      next: BigInt(next),
      lastAt: start < next ? appendedAt : undefined,
    }));
    await this.#core.journal.durable();
    return { log: name, retentionMs: finite(retentionMs), retentionBytes: finite(retentionBytes), partitions };
  }

  append(batch: LogBatch): Promise<readonly bigint[]> {
    try {
      this.#core.throwIfClosed();
      checkLogBatch(batch, this.capabilities);
      const { log, partition, records: messages, producer } = batch;
      const queue = this.#queue(log, partition);
      const checked = checkBatch({ topic: log, partition, messages, producer }, queue, this.#limits);
      let positions = this.#appends.known(checked);
      if (positions === undefined) {
        this.#core.throwIfFull(`appending to log ${log}`);
        this.#appends.makeRoom([checked]);
        positions = this.#appends.write(checked);
      }
      const answer = positions as readonly bigint[];
      return this.#core.journal.durable().then(() => answer);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async read(request: LogRead, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<LogPage> {
    signal?.throwIfAborted();
    this.#core.throwIfClosed();
    checkLogRead(request);
    return this.#reading.read(this.#queue(request.log, request.partition), request, signal);
  }

  async locate(log: string, partition: number, at: number): Promise<bigint> {
    this.#core.throwIfClosed();
    checkInstant(log, at);
    return BigInt(await this.#reading.locate(this.#queue(log, partition), at));
  }

  async positions(reader: string, log: string): Promise<ReadonlyMap<number, bigint>> {
    this.#core.throwIfClosed();
    checkLogName("reader", reader);
    const positions = new Map<number, bigint>();
    for (const queue of this.#log(log).queues) {
      const position = this.#states.position(queue, reader);
      if (position !== undefined) positions.set(queue.partition, BigInt(position));
    }
    await this.#core.journal.durable();
    return positions;
  }

  async forget(reader: string, log: string): Promise<void> {
    this.#core.throwIfClosed();
    checkLogName("reader", reader);
    this.#states.forget(this.#log(log).queues, reader);
    await this.#core.journal.durable();
  }

  async openWriter(name: string, logs: readonly string[]): Promise<LogWriter> {
    this.#core.throwIfClosed();
    checkLogName("writer", name);
    for (const log of logs) this.#log(log);
    const epoch = BigInt(this.#states.openWriter(name));
    await this.#core.journal.durable();
    return { name, epoch, logs: [...logs] };
  }

  async commit(writer: LogWriter, change: LogCommit): Promise<readonly (readonly (bigint | undefined)[])[]> {
    this.#core.throwIfClosed();
    const { name, epoch, logs } = writer;
    checkLogCommit(logs, change, this.capabilities);
    if (this.#states.epochOf(name) !== Number(epoch)) throw writerFenced(name, epoch);
    const underWay = `${epoch}/${name}`;
    if (this.#committing.has(underWay)) throw commitUnderWay(name);
    const answer = this.#commit(name, change);
    this.#committing.add(underWay);
    try {
      await this.#core.journal.durable();
    } finally {
      this.#committing.delete(underWay);
    }
    return answer;
  }

  /** Synchronous: everything of it is in one journal batch. */
  #commit(writer: string, change: LogCommit): readonly (readonly (bigint | undefined)[])[] {
    const outputs = (change.outputs ?? []).map((output) => this.#check(writer, output));
    const effects: Effect[] = [];
    for (const { queue, lastSequence } of outputs)
      if (lastSequence !== undefined) effects.push(this.#states.sequenced(queue, writer, lastSequence));
    for (const standing of change.positions ?? []) {
      const queue = this.#queue(standing.log, standing.partition);
      checkPositionWithin(standing, BigInt(queue.next));
      effects.push(this.#states.moved(queue, standing.reader, Number(standing.position)));
    }
    const fresh = outputs.flatMap((output) => output.fresh ?? []);
    if (fresh.length > 0) this.#core.throwIfFull(`a commit of writer ${writer}`);
    this.#appends.makeRoom(fresh, effectsBytes(effects), 1);
    const answer = outputs.map((output) => {
      const positions = output.fresh === undefined ? [] : this.#appends.write(output.fresh);
      return output.places.map((place) => positions[place]);
    });
    this.#states.commit(effects);
    return answer;
  }

  #check(writer: string, { log, partition, records, sequences }: LogOutput): CheckedOutput {
    const queue = this.#queue(log, partition);
    const last = sequences === undefined ? -1 : this.#states.sequence(queue, writer);
    const messages = records.filter((_, index) => sequences === undefined || Number(sequences[index]) > last);
    const known = records.length - messages.length;
    // Sequences do not fall, so what is known stands before what is not.
    const places = records.map((_, index) => index - known);
    if (messages.length === 0) return { queue, places, fresh: undefined, lastSequence: undefined };
    const fresh = checkBatch({ topic: log, partition, messages }, queue, this.#limits);
    return { queue, places, fresh, lastSequence: sequences === undefined ? undefined : Number(sequences.at(-1)) };
  }

  #log(name: string): Topic {
    const log = this.#store.catalogue.logs.get(name);
    if (log === undefined) throw logNotFound(name);
    return log;
  }

  #queue(name: string, partition: number): Queue {
    const { queues } = this.#log(name);
    checkLogPartition(name, partition, queues.length);
    return queues[partition]!;
  }

  #sweep(): void {
    this.#states.sweep((queue) => this.#store.catalogue.findQueue(queue) !== undefined);
  }

  /** Everything is replayed. A removal may have been cut off from what it takes with it. */
  start(): void {
    this.#sweep();
  }

  /** Whoever waits hears that the engine has closed. */
  close(): void {
    for (const { queues } of this.#store.catalogue.logs.values()) for (const queue of queues) queue.wakeAll();
  }
}

function finite(value: number): number | undefined {
  return value === Number.POSITIVE_INFINITY ? undefined : value;
}
