import type { Appended } from "../../lanes/append-queues.ts";
import type { CheckedBatch } from "../../lanes/batches.ts";
import { type BatchRefusal, packChunks, packOne } from "../../lanes/batches.ts";
import type { Positions } from "../../lanes/producer-marks.ts";
import { Abandoned } from "../connection.ts";
import type { Parameter, Row } from "../sql.ts";
import type { Transaction } from "../transaction.ts";
import type { MessageCommands } from "./commands.ts";
import type { PartitionState } from "./known-partitions.ts";
import { ProducersAtWork } from "./producers-at-work.ts";
import { type EvictionParts, makeRoom } from "./room.ts";
import { type Limit, limitOf, refusedBySeal } from "./terms.ts";

/** A batch met a limited topic whose row was not locked first; the transaction begins anew with that. */
export class LimitMet extends Abandoned {}

/** The topic is gone. */
export class TopicGone extends Abandoned {}

interface NewRun {
  readonly position: number;
  readonly count: number;
  readonly publishedAt: number;
  readonly packed: Buffer;
}

interface WriterParts {
  readonly commands: MessageCommands;
  readonly topic: number;
  readonly partition: number;
  readonly channel: string;
  /** The topic's row is locked, as the topic is limited. */
  readonly limited: boolean;
}

/** Runs are at most this large, unless they are one message. */
const runBytes = 64 * 1024;
const dueBatchMax = 1_000;

/** Appends to one partition within a transaction, under the lock of the partition's row: so positions have no gaps, and whoever reads never passes one by that is not committed yet. */
export class PartitionWriter {
  readonly #transaction: Transaction;
  readonly #parts: WriterParts;
  readonly #batches: readonly CheckedBatch[];
  readonly #row: Row;
  readonly #runs: NewRun[] = [];
  readonly #producers: ProducersAtWork;
  next: number;
  readonly #now: number;
  #publishedAt: number;
  #dueAt: number | null;
  #delayed: number;
  #delayedNumber: number | undefined;
  #changed = false;

  /** For these batches, which are to be appended. */
  static async lock(
    transaction: Transaction,
    parts: WriterParts,
    batches: readonly CheckedBatch[],
  ): Promise<PartitionWriter> {
    const { commands, topic, partition } = parts;
    const ids = batches.flatMap(({ batch }) => (batch.producer === undefined ? [] : [Buffer.from(batch.producer.id)]));
    const [[row], marks] = await transaction.look(
      [commands.lockPartition, [topic, partition]],
      [commands.marks, [topic, ids, partition]],
    );
    if (row === undefined) throw new TopicGone();
    if (limitOf(row) !== undefined && !parts.limited) throw new LimitMet();
    return new PartitionWriter(transaction, parts, batches, row, marks);
  }

  private constructor(
    transaction: Transaction,
    parts: WriterParts,
    batches: readonly CheckedBatch[],
    row: Row,
    marks: readonly Row[],
  ) {
    this.#transaction = transaction;
    this.#parts = parts;
    this.#batches = batches;
    this.#row = row;
    this.#now = marks[0]!.now as number;
    this.next = Number(row.next);
    this.#publishedAt = row.published_at as number;
    this.#dueAt = row.due_at as number | null;
    this.#delayed = Number(row.delayed);
    this.#producers = new ProducersAtWork(marks);
  }

  /** Appends the batches one after the other, each as a whole or not at all; what is due comes first. */
  async append(): Promise<readonly Appended[]> {
    await this.releaseDue(this.#now);
    const answers: Appended[] = [];
    for (const checked of this.#batches) answers.push(await this.#appendOne(checked));
    return answers;
  }

  async #appendOne(checked: CheckedBatch): Promise<Appended> {
    const { batch } = checked;
    const { producer, messages } = batch;
    const known = producer && this.#producers.check(producer, messages.length);
    if (known !== undefined) return "known" in known ? { positions: known.known } : known;
    const sealed = refusedBySeal(this.#row);
    if (sealed !== undefined) return sealed;
    const ids = checked.special ? await this.#knownIds(checked) : new Map<string, number>();
    const limit = limitOf(this.#row);
    const full = limit && (await this.#refuseWhenFull(limit, checked, ids));
    if (full !== undefined) return full;
    const positions = checked.special ? await this.#addSpecial(checked, ids) : this.#addRuns(checked);
    if (producer !== undefined) this.#producers.remember(producer, messages.length, positions);
    this.#changed = true;
    return { positions };
  }

  #addRuns(checked: CheckedBatch): number {
    const first = this.next;
    for (const { count, packed } of packChunks(checked)) this.#addRun(count, packed, this.#now);
    return first;
  }

  /** Instants of publishing never go back within a partition, whatever the clock does. */
  #addRun(count: number, packed: Buffer, publishedAt: number): void {
    this.#publishedAt = Math.max(this.#publishedAt, publishedAt);
    this.next += count;
    this.#runs.push({ position: this.next, count, publishedAt: this.#publishedAt, packed });
    this.#changed = true;
  }

  // Ids and delays -----------------------------------------------------------------------------------------------------

  /** The position of each id that is known: -1 when it has none in this partition. */
  async #knownIds({ batch }: CheckedBatch): Promise<Map<string, number>> {
    const ids = [...new Set(batch.messages.flatMap(({ id }) => id ?? []))];
    if (ids.length === 0) return new Map();
    const { commands, topic, partition } = this.#parts;
    const rows = await this.#transaction.run(commands.knownIds, [topic, ids.map((id) => Buffer.from(id)), this.#now]);
    return new Map(
      rows.map((row) => [(row.id as Buffer).toString(), row.partition === partition ? Number(row.position) : -1]),
    );
  }

  async #addSpecial(checked: CheckedBatch, known: Map<string, number>): Promise<Positions> {
    const positions: number[] = [];
    const ids: { readonly id: string; readonly position: number }[] = [];
    const later: { readonly dueAt: number; readonly id: string | undefined; readonly packed: Buffer }[] = [];
    let gathered: Buffer[] = [];
    let bytes = 0;
    const endRun = () => {
      if (gathered.length > 0) this.#addRun(gathered.length, Buffer.concat(gathered), this.#now);
      gathered = [];
      bytes = 0;
    };
    for (const [index, { id, dueAt }] of checked.batch.messages.entries()) {
      const before = id === undefined ? undefined : known.get(id);
      if (before !== undefined) {
        positions.push(before);
        continue;
      }
      const packed = packOne(checked, index);
      let position = -1;
      if (dueAt !== undefined && dueAt > this.#now) later.push({ dueAt, id, packed });
      else {
        position = this.next + gathered.length;
        gathered.push(packed);
        bytes += packed.length;
        if (bytes >= runBytes) endRun();
      }
      positions.push(position);
      if (id !== undefined) {
        known.set(id, position);
        ids.push({ id, position });
      }
    }
    endRun();
    await this.#addIds(ids);
    await this.#delay(later);
    return positions;
  }

  async #addIds(ids: readonly { readonly id: string; readonly position: number }[]): Promise<void> {
    if (ids.length === 0) return;
    const { commands, topic, partition } = this.#parts;
    const names = ids.map(({ id }) => Buffer.from(id));
    const positions = ids.map(({ position }) => position);
    await this.#transaction.run(commands.addIds, [topic, partition, names, positions, this.#now]);
  }

  async #delay(
    later: readonly { readonly dueAt: number; readonly id: string | undefined; readonly packed: Buffer }[],
  ): Promise<void> {
    if (later.length === 0) return;
    const { commands, topic, partition } = this.#parts;
    this.#delayedNumber ??= Number((await this.#transaction.run(commands.nextDue, [topic, partition]))[0]!.number);
    const numbers = later.map(() => ++this.#delayedNumber!);
    await this.#transaction.run(commands.addDelayed, [
      topic,
      partition,
      later.map(({ dueAt }) => dueAt),
      numbers,
      later.map(({ id }) => (id === undefined ? null : Buffer.from(id))),
      later.map(({ packed }) => packed),
    ]);
    this.#delayed += later.length;
    for (const { dueAt } of later) this.#dueAt = Math.min(dueAt, this.#dueAt ?? dueAt);
    this.#changed = true;
  }

  /** Appends what is due, in the order of due instants. Bounded; the next look goes on. */
  async releaseDue(now: number): Promise<void> {
    if (this.#dueAt === null || this.#dueAt > now) return;
    const { commands, topic, partition } = this.#parts;
    const rows = [...(await this.#transaction.run(commands.takeDue, [topic, partition, now]))];
    rows.sort((one, other) => Number(one.due_at) - Number(other.due_at) || Number(one.number) - Number(other.number));
    const ids: Buffer[] = [];
    const positions: number[] = [];
    for (const { due_at: dueAt, id, packed } of rows.slice(0, dueBatchMax)) {
      if (id !== null) {
        ids.push(id as Buffer);
        positions.push(this.next);
      }
      this.#addRun(1, packed as Buffer, dueAt as number);
    }
    if (ids.length > 0) await this.#transaction.run(commands.placeIds, [topic, partition, ids, positions]);
    this.#delayed -= rows.length;
    const [left] = await this.#transaction.run(commands.nextDue, [topic, partition]);
    this.#dueAt = left!.due_at as number | null;
    this.#changed = true;
  }

  // Limits -------------------------------------------------------------------------------------------------------------

  async #refuseWhenFull(
    limit: Limit,
    { batch }: CheckedBatch,
    known: ReadonlyMap<string, number>,
  ): Promise<BatchRefusal | undefined> {
    const seen = new Set<string>();
    let fresh = 0;
    for (const { id } of batch.messages) {
      if (id === undefined) fresh += 1;
      else if (!known.has(id) && !seen.has(id)) {
        seen.add(id);
        fresh += 1;
      }
    }
    const { commands, topic, partition } = this.#parts;
    const parts: EvictionParts = { commands, topic, partition, next: this.next, delayed: this.#delayed };
    return makeRoom(this.#transaction, parts, limit, fresh);
  }

  // Writing ------------------------------------------------------------------------------------------------------------

  /** Writes down what was appended, and tells who waits for it. */
  async write(): Promise<void> {
    if (this.#changed) await this.#transaction.run(this.#parts.commands.append, this.#appended());
  }

  /** The same, as the last that the transaction does. */
  async finish(): Promise<void> {
    if (this.#changed) await this.#transaction.finish(this.#parts.commands.append, this.#appended());
  }

  /** As it is when the transaction is committed. */
  get state(): PartitionState {
    return { next: this.next, delayed: this.#delayed, producers: this.#producers.marks };
  }

  #appended(): readonly Parameter[] {
    const { topic, partition, channel } = this.#parts;
    return [
      topic,
      partition,
      this.#runs.map(({ position }) => position),
      this.#runs.map(({ count }) => count),
      this.#runs.map(({ publishedAt }) => publishedAt),
      this.#runs.map(({ packed }) => packed),
      ...this.#producers.written(partition),
      this.#now,
      this.next,
      this.#publishedAt,
      this.#dueAt,
      this.#delayed,
      this.#row.waiting === 1 ? channel : "",
      `p${partition}`,
    ];
  }
}
