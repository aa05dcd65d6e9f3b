import type { NewRecord } from "../../../contracts/log.ts";
import type { World } from "../../../world/world.ts";
import type { Appended } from "../../lanes/append-queues.ts";
import { type CheckedBatch, contentBytes, packChunks } from "../../lanes/batches.ts";
import type { JetStream } from "../jet-stream.ts";
import type { NatsLink } from "../link.ts";
import { PartitionProducers } from "../partition-producers.ts";
import type { ProducerEpochs } from "../producer-epochs.ts";
import { type LastRun, RunChain } from "../run-chain.ts";
import type { ServerClock } from "../server-clock.ts";
import type { StateStore } from "../state-store.ts";
import type { Streams } from "../streams.ts";
import {
  decodeLogRun,
  emptyAfterRun,
  encodeLogRun,
  endOf,
  type LogHead,
  newLogPartition,
  runAfter,
  type WriterMark,
} from "./log-head.ts";
import { WriterMarks } from "./writer-marks.ts";

export interface LogPartitionParts {
  readonly world: World;
  readonly link: NatsLink;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly state: StateStore;
  readonly clock: ServerClock;
  readonly epochs: ProducerEpochs;
  /** What one message of the server may take. */
  readonly payloadBytesMax: number;
}

/** What a writer stores in one partition. */
export interface WriterOutput {
  readonly writer: string;
  readonly epoch: number;
  readonly records: readonly NewRecord[];
  /** One for each record; none: they are not compared with what was stored before. */
  readonly sequences: readonly number[] | undefined;
  /** The records from an index on, packed. */
  readonly packed: (from: number) => readonly Buffer[];
}

/** How many of an output's records were known, and the position of the first that was not. */
export interface StoredOutput {
  readonly known: number;
  readonly first: number;
}

/** A partition of a log: a chain of runs, to which everybody appends, and writers under their epochs. */
export class LogPartition {
  readonly #parts: LogPartitionParts;
  readonly #log: number;
  readonly #chain: RunChain<LogHead>;
  readonly #marks: WriterMarks;

  constructor(parts: LogPartitionParts, log: number, partition: number) {
    const { link, streams, state, world } = parts;
    this.#parts = parts;
    this.#log = log;
    this.#marks = new WriterMarks(state, world, log, partition);
    this.#chain = new RunChain(parts, {
      stream: streams.logs,
      subject: logSubject(streams, log, partition),
      format: { encode: encodeLogRun, decode: decodeLogRun },
      stored: () => link.tell(growthSubject(streams, log), `p${partition}`),
    });
  }

  /** Makes the partition when it is not there. */
  make(): Promise<void> {
    return this.#chain.make("making a partition", newLogPartition);
  }

  /** The last run as it is now; `undefined` when the log is gone. */
  look(): Promise<LastRun<LogHead> | undefined> {
    return this.#chain.look();
  }

  /** Whether the position is not beyond the end; or where the end is. */
  async reaches(position: bigint): Promise<true | { readonly end: number } | undefined> {
    // What is known here may be old, and then the end is only further away.
    const known = await this.#chain.recall();
    if (known !== undefined && position <= endOf(known.head)) return true;
    const last = await this.look();
    if (last === undefined) return undefined;
    return position <= endOf(last.head) || { end: endOf(last.head) };
  }

  /** Appends batches one after the other, each as a whole or not at all; `undefined` when the log is gone. */
  append(batches: readonly CheckedBatch[]): Promise<readonly Appended[] | undefined> {
    const { clock, epochs } = this.#parts;
    return this.#chain.inTurn(async () => {
      await clock.ready();
      const known = await epochs.of(this.#log, batches);
      return this.#chain.extend("an append", async ({ head }) => {
        const now = clock.earliest;
        const producers = new PartitionProducers(head.producers, known, now);
        const { answers, fresh } = admit(batches, producers, endOf(head));
        if (fresh.length === 0) return { run: undefined, answer: answers };
        await epochs.raise(this.#log, producers.raised);
        const count = sum(fresh, ({ batch }) => batch.messages.length);
        const bytes = sum(fresh, ({ batch }) => sum(batch.messages, contentBytes));
        const packed = fresh.flatMap((each) => packChunks(each).map((chunk) => chunk.packed));
        const next = { ...runAfter(head, { count, bytes, now }), producers: producers.done() };
        return { run: { head: next, packed }, answer: answers };
      });
    });
  }

  /** Stores what of a writer's output is not known by its sequence. `"fenced"`: the writer has a successor. `undefined`: the log is gone. */
  store(output: WriterOutput): Promise<StoredOutput | "fenced" | undefined> {
    const { writer, epoch, records, sequences } = output;
    const { clock } = this.#parts;
    return this.#chain.inTurn(async () => {
      await clock.ready();
      return this.#chain.extend<StoredOutput | "fenced">("a commit", async ({ head }) => {
        const mark = await this.#marks.of(head.writers, writer);
        if (mark !== undefined && mark.epoch > epoch) return { run: undefined, answer: "fenced" };
        const last = mark?.sequence ?? -1;
        const known = sequences === undefined ? 0 : sequences.filter((sequence) => sequence <= last).length;
        const answer = { known, first: endOf(head) };
        const fresh = records.slice(known);
        if (fresh.length === 0) return { run: undefined, answer };
        const bytes = sum(fresh, contentBytes);
        const sized = runAfter(head, { count: fresh.length, bytes, now: clock.earliest });
        const next = await this.#marked(sized, writer, { epoch, sequence: sequences?.at(-1) ?? last });
        return { run: { head: next, packed: output.packed(known) }, answer };
      });
    });
  }

  /** From now on nothing is stored under a lower epoch of the writer, also of what is on its way. `undefined` when the log is gone. */
  fence(writer: string, epoch: number): Promise<true | undefined> {
    return this.#chain.inTurn(() =>
      this.#chain.extend<true>("fencing a writer", async ({ head }) => {
        const mark = await this.#marks.of(head.writers, writer);
        if (mark !== undefined && mark.epoch >= epoch) return { run: undefined, answer: true };
        const next = await this.#marked(emptyAfterRun(head), writer, { epoch, sequence: mark?.sequence ?? -1 });
        return { run: { head: next, packed: [] }, answer: true };
      }),
    );
  }

  async #marked(head: LogHead, writer: string, mark: WriterMark): Promise<LogHead> {
    return { ...head, writers: await this.#marks.with(head.writers, writer, mark) };
  }

  /** Puts an empty run upon the last one, so that this one may go. `false` when it was not the last one any more. */
  close({ sequence, head }: LastRun<LogHead>): Promise<boolean> {
    return this.#chain.interpose("trimming a partition", sequence, emptyAfterRun(head));
  }
}

/** What becomes of each batch, and those that are news. */
function admit(
  batches: readonly CheckedBatch[],
  producers: PartitionProducers,
  from: number,
): { readonly answers: readonly Appended[]; readonly fresh: readonly CheckedBatch[] } {
  let next = from;
  const fresh: CheckedBatch[] = [];
  const answers = batches.map((checked): Appended => {
    const { producer, messages } = checked.batch;
    const known = producer && producers.check(producer, messages.length);
    if (known !== undefined) return known;
    const positions = next;
    if (producer !== undefined) producers.add(producer, messages.length, positions);
    fresh.push(checked);
    next += messages.length;
    return { positions };
  });
  return { answers, fresh };
}

function sum<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}

export function logSubject({ prefix }: Streams, log: number, partition: number): string {
  return `${prefix}.l.${log}.${partition}`;
}

/** Where is told that a log has grown, or is gone. */
export function growthSubject({ prefix }: Streams, log: number): string {
  return `${prefix}.n.${log}`;
}
