import type { Held } from "../../../contracts/messages.ts";
import { type CheckedBatch, refusedBatch } from "../../lanes/batches.ts";
import { positionBeyond, topicNotFound } from "../../lanes/errors.ts";
import { LaneProgress } from "../../lanes/lane-progress.ts";
import {
  type Fetched,
  type FetchRequest,
  type Grant,
  type LaneChange,
  laneNameOf,
  type OpenedLane,
} from "../../lanes/lane-store.ts";
import { Run } from "../../lanes/message-format.ts";
import { Abandoned } from "../connection.ts";
import type { Parameter, Row } from "../sql.ts";
import type { Transaction } from "../transaction.ts";
import { LimitMet, TopicGone } from "./partition-writer.ts";
import type { LaneParts } from "./relational-lane-store.ts";
import type { Topic } from "./topics.ts";

/** An owner may come so much further before it is written down again how far it came. */
const cursorStep = 512;

/** The lane's row is not as it was read last. */
class Changed extends Abandoned {}

/** A batch's topic is gone. */
class BatchTopicGone extends Abandoned {
  readonly topic: Topic;
  constructor(topic: Topic) {
    super(topic.name);
    this.topic = topic;
  }
}

/**
 * A lane as the tables show it to the owner of one grant. The owner knows the progress, so that a commit is one statement: the new value, if fence and revision are still those that it knows; only evicting
 * changes it beside the owner.
 */
export class RelationalLane implements OpenedLane {
  readonly low: number;
  readonly suspectBelow: number;
  readonly held: readonly Held[];
  readonly #parts: LaneParts;
  readonly #place: Topic;
  readonly #partition: number;
  readonly #name: string;
  /** What every statement of the lane begins with. */
  readonly #grant: readonly Parameter[];
  readonly #before: LaneProgress;
  readonly #settledEnd: number;
  /** The progress as it was read or written last; `undefined` when nobody knows. */
  #progress: { readonly bytes: Buffer; readonly revision: number } | undefined;
  #low: number;
  #cursor: number;
  #next = 0;

  static async open(parts: LaneParts, place: Topic, grant: Grant): Promise<RelationalLane | undefined> {
    const values = [place.id, grant.groupNumber, grant.partition, grant.fence];
    const [row] = await parts.connection.read("opening a lane", parts.commands.open, values);
    return row && new RelationalLane(parts, place, grant, row);
  }

  private constructor(parts: LaneParts, place: Topic, grant: Grant, row: Row) {
    this.#parts = parts;
    this.#place = place;
    this.#partition = grant.partition;
    this.#name = laneNameOf(grant);
    this.#grant = [place.id, grant.groupNumber, grant.partition, grant.fence];
    this.#before = LaneProgress.decode(row.progress as Buffer);
    this.#progress = { bytes: row.progress as Buffer, revision: Number(row.revision) };
    this.#settledEnd = this.#before.end;
    this.low = this.#before.low;
    this.#low = this.low;
    this.held = this.#before.held;
    this.suspectBelow = Number(row.suspect);
    this.#cursor = Number(row.cursor);
  }

  get settledEnd(): number {
    return this.#settledEnd;
  }

  wasSettled(position: number): boolean {
    return this.#before.has(position);
  }

  // Fetching -----------------------------------------------------------------------------------------------------------

  async fetch({ cursor, limit, windowMax, bytesMax }: FetchRequest): Promise<Fetched | undefined> {
    const { connection, commands, trimmer } = this.#parts;
    for (;;) {
      const values = [...this.#grant, cursor, limit, windowMax, bytesMax];
      const rows = await connection.read("fetching", commands.fetch, values);
      const [first] = rows;
      if (first === undefined) return undefined;
      const dueMs = first.due_at === null ? -1 : Math.max(0, Math.ceil(Number(first.due_at) - Number(first.now)));
      if (dueMs === 0) {
        await trimmer.releaseDue(this.#place, this.#partition);
        continue;
      }
      const next = Number(first.next);
      this.#next = next;
      const runs = rows.filter((row) => row.position !== null).map(runOf);
      const end = runs.at(-1)?.end;
      if (end !== undefined) {
        if (!(await this.#reach(end))) return undefined;
      } else if (next <= Math.max(cursor, Number(first.low)) && first.waiting === 0) {
        const waits = await connection.write("waiting", commands.wait, [this.#place.id, this.#partition, next]);
        // Something came meanwhile, or the partition is gone, which the next look tells.
        if (waits.length === 0) continue;
      }
      return { low: Number(first.low), next, dueMs, runs };
    }
  }

  /** Whoever comes after an owner that vanished must know how far it got. `false` when the grant is superseded. */
  async #reach(end: number): Promise<boolean> {
    if (end <= this.#cursor) return true;
    const { connection, commands } = this.#parts;
    const cursor = end + cursorStep;
    const done = await connection.note("fetching", commands.setCursor, [...this.#grant, cursor]);
    this.#cursor = cursor;
    return done.length > 0;
  }

  // Committing ---------------------------------------------------------------------------------------------------------

  async commit(change: LaneChange): Promise<number | undefined> {
    await this.#checkPositions(change);
    for (;;) {
      if (this.#progress === undefined && !(await this.#readAgain())) return undefined;
      const { bytes, revision } = this.#progress!;
      const progress = LaneProgress.decode(bytes);
      progress.apply({ settled: change.settled, held: change.held.values() });
      const encoded = progress.encode();
      const values = [...this.#grant, revision, progress.low, encoded];
      this.#progress = undefined;
      if (!(await this.#write(values, change.appends))) continue;
      this.#progress = { bytes: encoded, revision: revision + 1 };
      if (progress.low > this.#low) this.#parts.trimmer.note(this.#place);
      this.#low = progress.low;
      return progress.low;
    }
  }

  async #checkPositions({ settled, held }: LaneChange): Promise<void> {
    let last = -1;
    if (settled.to.length > 0) last = settled.to.at(-1)! - 1;
    for (const position of held.keys()) last = Math.max(last, position);
    if (last < this.#next) return;
    const { connection, commands } = this.#parts;
    const [row] = await connection.read("committing", commands.next, [this.#place.id, this.#partition]);
    // A topic that is gone takes the lane with it, which the commit tells.
    if (row === undefined) return;
    this.#next = Number(row.next);
    if (last >= this.#next) throw positionBeyond(this.#name, this.#next);
  }

  /** `false` when the grant is superseded. */
  async #readAgain(): Promise<boolean> {
    const { connection, commands } = this.#parts;
    const [row] = await connection.read("reading a lane", commands.open, this.#grant);
    if (row === undefined) return false;
    this.#progress = { bytes: row.progress as Buffer, revision: Number(row.revision) };
    return true;
  }

  /** `false` when the lane is not as it was. */
  async #write(values: readonly Parameter[], appends: readonly CheckedBatch[]): Promise<boolean> {
    const { connection, commands } = this.#parts;
    if (appends.length === 0) {
      return (await connection.write("a commit of a lane", commands.commit, values)).length > 0;
    }
    for (let tries = 0; ; tries++) {
      const topics = await Promise.all(appends.map(({ batch }) => this.#parts.topics.find(batch.topic)));
      try {
        await connection.transaction("a commit of a lane", (transaction) =>
          this.#writeWith(transaction, values, appends, topics),
        );
        return true;
      } catch (error) {
        if (error instanceof Changed) return false;
        if (!(error instanceof BatchTopicGone)) throw error;
        this.#parts.topics.forget(error.topic);
        if (tries === appends.length) throw topicNotFound(error.topic.name);
      }
    }
  }

  async #writeWith(
    transaction: Transaction,
    values: readonly Parameter[],
    appends: readonly CheckedBatch[],
    topics: readonly Topic[],
  ): Promise<void> {
    const done = await transaction.run(this.#parts.commands.commit, values);
    if (done.length === 0) throw new Changed();
    // Partitions are locked in one order, so that nobody waits in a circle.
    const byPartition = Map.groupBy(appends.keys(), (index) => {
      return `${String(topics[index]!.id).padStart(20, "0")}/${String(appends[index]!.batch.partition).padStart(5, "0")}`;
    });
    for (const [, indexes] of [...byPartition].sort(([one], [other]) => (one < other ? -1 : 1))) {
      const topic = topics[indexes[0]!]!;
      const batches = indexes.map((index) => appends[index]!);
      await this.#append(transaction, topic, batches);
    }
  }

  async #append(transaction: Transaction, topic: Topic, batches: readonly CheckedBatch[]): Promise<void> {
    const { batch } = batches[0]!;
    if (batch.partition >= topic.partitions)
      throw refusedBatch(batch, { refused: "partition", partitions: topic.partitions });
    try {
      const answers = await this.#parts.appends.write(transaction, topic, batches);
      for (const [index, answer] of answers.entries()) {
        if ("refused" in answer) throw refusedBatch(batches[index]!.batch, answer);
      }
    } catch (error) {
      if (error instanceof TopicGone) throw new BatchTopicGone(topic);
      if (error instanceof LimitMet) topic.limited = true;
      // From its beginning, with the topic's row locked first.
      throw error instanceof LimitMet ? new Changed() : error;
    }
  }
}

function runOf(row: Row): Run {
  return new Run(Number(row.position), row.count as number, row.published_at as number, row.packed as Buffer);
}
