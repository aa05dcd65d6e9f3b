import type { ProducerMark } from "../../../contracts/messages.ts";
import type { Appended } from "../../lanes/append-queues.ts";
import { type CheckedBatch, packChunks } from "../../lanes/batches.ts";
import { ProducerMarks } from "../../lanes/producer-marks.ts";
import type { DatabaseConnection } from "../connection.ts";
import type { Command, Parameter } from "../sql.ts";
import { ScratchBuffers } from "./scratch-buffers.ts";
import type { Topic } from "./topics.ts";

/** A partition as an append of ours has left it. */
export interface PartitionState {
  readonly next: number;
  /** Whoever appends changes `next` or this, so both together tell whether somebody has. */
  readonly delayed: number;
  /** What is remembered of producers there. */
  readonly producers: ReadonlyMap<string, ProducerMarks>;
}

/** Then those that are known are forgotten. */
const partitionsMax = 10_000;

/**
 * Appends in one request, where a process appends to a partition again and nobody else has since: what was written last is what has to be read, so it is a condition instead. Only plain
 * messages go this way; whatever it does not meet as expected changes nothing, and goes the long one.
 */
export class KnownPartitions {
  readonly #connection: DatabaseConnection;
  readonly #command: Command | undefined;
  readonly #states = new Map<string, PartitionState>();
  readonly #buffers = new ScratchBuffers();

  constructor(connection: DatabaseConnection, command: Command | undefined) {
    this.#connection = connection;
    this.#command = command;
  }

  /** An append has left the partition so. */
  note(topic: Topic, partition: number, state: PartitionState): void {
    if (this.#command === undefined || topic.limited) return;
    if (this.#states.size >= partitionsMax) this.#states.clear();
    this.#states.set(keyOf(topic, partition), state);
  }

  /** `undefined` when nothing was appended, and it has to be done otherwise. One append to a partition at a time. */
  async append(topic: Topic, checked: readonly CheckedBatch[]): Promise<readonly Appended[] | undefined> {
    const { partition } = checked[0]!.batch;
    const key = keyOf(topic, partition);
    const state = this.#states.get(key);
    // Known again when it went well.
    this.#states.delete(key);
    if (state === undefined || this.#command === undefined || topic.limited) return undefined;
    let { next } = state;
    const answers: Appended[] = [];
    const written = new Map<string, ProducerMarks>();
    for (const { special, batch } of checked) {
      const { producer, messages } = batch;
      if (special) return undefined;
      if (producer !== undefined) {
        const marks = state.producers.get(producer.id);
        if (!isNews(marks, producer, messages.length)) return undefined;
        marks.add(producer, messages.length, next);
        written.set(producer.id, marks);
      }
      answers.push({ positions: next });
      next += messages.length;
    }
    const bytes = this.#buffers.take(checked.reduce((sum, each) => sum + each.bytes, 0));
    const rows = await this.#connection.write("an append", this.#command, [
      topic.id,
      partition,
      state.next,
      state.delayed,
      next,
      ...runsOf(checked, state.next, bytes),
      ...marksOf(written),
      topic.channel,
      `p${partition}`,
      bytes,
    ]);
    // Where it failed, nobody knows what still reads them.
    this.#buffers.giveBack(bytes);
    if (rows.length === 0) return undefined;
    this.note(topic, partition, { ...state, next });
    return answers;
  }
}

function keyOf({ id }: Topic, partition: number): string {
  return `${id}/${partition}`;
}

/** The batch that comes next of a producer that is known there, in the epoch that is known. */
function isNews(marks: ProducerMarks | undefined, producer: ProducerMark, count: number): marks is ProducerMarks {
  if (marks?.epoch !== producer.epoch) return false;
  return ProducerMarks.check(marks, marks.epoch, producer, count) === undefined;
}

/** Positions, counts, starts, sizes; the runs are packed into the bytes, one behind the other. */
function runsOf(checked: readonly CheckedBatch[], from: number, bytes: Buffer): readonly Parameter[][] {
  const starts: number[] = [];
  let end = 0;
  const allocate = (size: number) => {
    starts.push(end);
    end += size;
    return bytes.subarray(end - size, end);
  };
  const chunks = checked.flatMap((each) => packChunks(each, allocate));
  let position = from;
  return [
    chunks.map(({ count }) => (position += count)),
    chunks.map(({ count }) => count),
    starts,
    chunks.map(({ packed }) => packed.length),
  ];
}

/** Producers, epochs, marks. */
function marksOf(written: ReadonlyMap<string, ProducerMarks>): readonly Parameter[][] {
  const marks = [...written.values()];
  return [
    [...written.keys()].map((id) => Buffer.from(id)),
    marks.map(({ epoch }) => epoch),
    marks.map((each) => each.encode()),
  ];
}
