import type { NewMessage } from "../../../contracts/messages.ts";
import type { Cancel } from "../../../world/world.ts";
import { packedBytes, packMessage } from "../../lanes/message-format.ts";
import type { Core } from "../core.ts";
import { Reader, Writer } from "../cursor.ts";
import { type Journal, type Position, segmentOf } from "../journal/journal.ts";
import { recordKind, snapshotChunkCount } from "../records.ts";
import type { Topic } from "./catalogue.ts";
import { type Delay, Delays } from "./delays.ts";
import { readMessageId } from "./message-run.ts";
import type { Queue } from "./queues.ts";

/** `queue u32 · due at f64 · moved from f64 (-1: new) · message` */
const headerBytes = 4 + 8 + 8;
const snapshotEntryBytes = 4 + 8 + 8 + 4;
/** So many due messages are written before others get a turn. */
const releasedAtOnce = 1_000;
/** The wall clock may be set, so it is looked at at least this often while messages wait. */
const lookEveryMs = 500;
/** A message that could not be read is tried again after this; others go on meanwhile. */
const tryAgainMs = 5_000;

/** Where the messages go when they are due. */
export interface DelayTarget {
  queue(id: number): Queue;
  /** `undefined` when its topic was removed. */
  findQueue(id: number): Queue | undefined;
  /** Appends the encoded message at the partition's end and notes that the delayed record is done with. */
  release(queue: Queue, encoded: Buffer, source: Position, now: number): void;
  /** A delayed message with this id was accepted. */
  noteId(queue: Queue, id: string, at: number): void;
}

/** The messages that wait for their instant. When it comes, a copy is appended at the end of the partition. */
export class DelayedMessages {
  readonly #core: Core;
  readonly #target: DelayTarget;
  readonly #delays = new Delays();
  /** While the journal is replayed: by position, since entries come and go in any order. */
  #replayed: Map<Position, Delay> | undefined = new Map();
  /** Taken out of the heap and being read; a snapshot must still know them. */
  readonly #leaving = new Map<Position, Delay>();
  /** Copied forward to where, while a move is under way and the heap still has their old positions. */
  readonly #moved = new Map<Position, Position>();
  /** How many bytes of each segment are records that wait. */
  readonly #waitingBytes = new Map<number, number>();
  /** Appended in a journal batch that is not durable yet: they wait no more, but nobody can see them. */
  readonly #appended: { readonly topic: Topic; readonly batch: number }[] = [];
  #cancel: Cancel | undefined;
  #releasing = false;
  #closed = false;

  constructor(core: Core, target: DelayTarget) {
    this.#core = core;
    this.#target = target;
  }

  write(queue: Queue, message: NewMessage, headers: Buffer | undefined): void {
    const journal = this.#core.journal;
    const bytes = packedBytes(message, headers?.length ?? -1);
    const start = journal.append(recordKind.delayed, headerBytes + bytes);
    const dueAt = message.dueAt!;
    const writer = new Writer(journal.buffer, start).u32(queue.id).f64(dueAt).f64(-1);
    packMessage(journal.buffer, writer.at, message, headers);
    countWaiting(queue.topic, 1);
    this.#add({ dueAt, position: journal.position, queue: queue.id, bytes: headerBytes + bytes });
    this.#arm();
  }

  replay(payload: Buffer, position: Position): void {
    const reader = new Reader(payload);
    const queue = reader.u32();
    const dueAt = reader.f64();
    const from = reader.f64();
    if (from < 0) {
      countWaiting(this.#target.queue(queue).topic, 1);
      const id = readMessageId(reader);
      if (id !== undefined) this.#target.noteId(this.#target.queue(queue), id, this.#core.world.clock.now());
    } else this.#replayed!.delete(from);
    this.#replayed!.set(position, { dueAt, position, queue, bytes: payload.length });
  }

  replaySnapshot(payload: Buffer): void {
    const reader = new Reader(payload);
    while (!reader.done) {
      const queue = reader.u32();
      const dueAt = reader.f64();
      const position = reader.f64();
      const bytes = reader.u32();
      this.#replayed!.set(position, { dueAt, position, queue, bytes });
      countWaiting(this.#target.queue(queue).topic, 1);
    }
  }

  /** The delayed record's message has been appended. */
  released(queue: Queue, source: Position): void {
    if (this.#replayed !== undefined) {
      this.#replayed.delete(source);
      countWaiting(queue.topic, -1);
      return;
    }
    const delay = this.#leaving.get(source);
    if (delay !== undefined) this.#countBytes(source, -delay.bytes);
    this.#leaving.delete(source);
    queue.topic.keptCount -= 1;
    this.#appended.push({ topic: queue.topic, batch: this.#core.journal.batch });
  }

  /** What the batches up to this one carried can be seen now, so it waits no more. */
  durable(batch: number): void {
    let done = 0;
    for (const { topic, batch: own } of this.#appended) {
      if (own > batch) break;
      done += 1;
      topic.delayedCount -= 1;
    }
    if (done > 0) this.#appended.splice(0, done);
  }

  /** Replaying is over. */
  start(): void {
    const entries = [...this.#replayed!.values()].filter(({ queue }) => this.#target.findQueue(queue) !== undefined);
    this.#replayed = undefined;
    this.#delays.replace(entries);
    for (const { position, bytes } of entries) this.#countBytes(position, bytes);
    this.#arm();
  }

  snapshot(journal: Journal): void {
    const entries = [...this.#delays.entries(), ...this.#leaving.values()];
    for (let from = 0; from < entries.length; from += snapshotChunkCount) {
      const chunk = entries.slice(from, from + snapshotChunkCount);
      const at = journal.append(recordKind.snapshotDelays, chunk.length * snapshotEntryBytes);
      const writer = new Writer(journal.buffer, at);
      for (const { queue, dueAt, position, bytes } of chunk) {
        const current = this.#moved.get(position) ?? position;
        writer.u32(queue).f64(dueAt).f64(current).u32(bytes);
      }
    }
  }

  #add(delay: Delay): void {
    this.#delays.add(delay);
    this.#countBytes(delay.position, delay.bytes);
  }

  #countBytes(position: Position, by: number): void {
    const segment = segmentOf(position);
    const bytes = (this.#waitingBytes.get(segment) ?? 0) + by;
    if (bytes > 0) this.#waitingBytes.set(segment, bytes);
    else this.#waitingBytes.delete(segment);
  }

  #arm(): void {
    const dueAt = this.#delays.nextDueAt;
    if (this.#closed || this.#releasing || dueAt === undefined) return;
    this.#cancel?.();
    const waitMs = Math.min(Math.max(0, dueAt - this.#core.world.clock.now()), lookEveryMs);
    this.#cancel = this.#core.world.timers.schedule(waitMs, () => {
      this.#cancel = undefined;
      void this.#release();
    });
  }

  /** Appends what is due. A failure to write ends the journal, and with it the engine, so it needs no report here. */
  async #release(): Promise<void> {
    if (this.#releasing) return;
    this.#releasing = true;
    try {
      for (let left = releasedAtOnce; left > 0 && !this.#core.closed; left--) {
        const delay = this.#delays.take(this.#core.world.clock.now());
        if (delay === undefined) break;
        this.#leaving.set(delay.position, delay);
        const payload = await this.#core.journal.read(delay.position);
        if (this.#core.closed) return;
        // Its topic was removed meanwhile.
        if (!this.#leaving.has(delay.position)) continue;
        const now = this.#core.world.clock.now();
        this.#target.release(this.#target.queue(delay.queue), payload.subarray(headerBytes), delay.position, now);
      }
      if (!this.#core.closed) await this.#core.journal.durable();
    } catch (error) {
      if (!this.#core.closed && this.#leaving.size > 0) this.#tryAgain(error);
    } finally {
      this.#releasing = false;
      this.#arm();
    }
  }

  /** What could not be read keeps its place in the journal and comes again later. */
  #tryAgain(error: unknown): void {
    const fields = { error: String(error), tryAgainMs };
    this.#core.world.log.log("error", "a delayed message could not be read; it is tried again", fields);
    const dueAt = this.#core.world.clock.now() + tryAgainMs;
    for (const delay of this.#leaving.values()) this.#delays.add({ ...delay, dueAt });
    this.#leaving.clear();
  }

  /** How many bytes of a segment are records that still wait. */
  waitingIn(segment: number): number {
    return this.#waitingBytes.get(segment) ?? 0;
  }

  /** Writes those that wait in the segment anew. Answers whether none is left in it; nothing is released meanwhile. */
  async move(segment: number): Promise<boolean> {
    if (this.#releasing) return false;
    if (this.waitingIn(segment) === 0) return true;
    this.#releasing = true;
    try {
      for (const { position, bytes, queue } of [...this.#delays.entries()]) {
        if (segmentOf(position) !== segment || this.#target.findQueue(queue) === undefined) continue;
        const payload = await this.#core.journal.read(position);
        if (this.#core.closed) return false;
        if (this.#target.findQueue(queue) === undefined) continue;
        this.#move(position, bytes, payload);
      }
      return true;
    } finally {
      const entries = [...this.#delays.entries()];
      this.#delays.replace(
        entries.map((delay) => ({ ...delay, position: this.#moved.get(delay.position) ?? delay.position })),
      );
      this.#moved.clear();
      this.#releasing = false;
      this.#arm();
    }
  }

  #move(position: Position, bytes: number, payload: Buffer): void {
    const journal = this.#core.journal;
    const at = journal.append(recordKind.delayed, payload.length);
    journal.buffer.set(payload, at);
    journal.buffer.writeDoubleLE(position, at + 4 + 8);
    this.#moved.set(position, journal.position);
    this.#countBytes(position, -bytes);
    this.#countBytes(journal.position, bytes);
  }

  /** The topic of these queues was removed, and nobody waits for what it delayed. */
  removed(queues: ReadonlySet<number>): void {
    const kept: Delay[] = [];
    for (const delay of this.#delays.entries()) if (!this.#forget(delay, queues)) kept.push(delay);
    for (const delay of this.#leaving.values()) {
      if (this.#forget(delay, queues)) this.#leaving.delete(delay.position);
    }
    this.#delays.replace(kept);
  }

  #forget({ position, bytes, queue }: Delay, queues: ReadonlySet<number>): boolean {
    if (!queues.has(queue)) return false;
    this.#countBytes(this.#moved.get(position) ?? position, -bytes);
    this.#moved.delete(position);
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
  }
}

function countWaiting(topic: Topic, by: number): void {
  topic.delayedCount += by;
  topic.keptCount += by;
}
