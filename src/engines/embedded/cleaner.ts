import type { Cancel } from "../../world/world.ts";
import type { Core } from "./core.ts";
import { Reader, Writer } from "./cursor.ts";
import { corrupt } from "./journal/failures.ts";
import { segmentFileName } from "./journal/format.ts";
import { type Journal, positionOf } from "./journal/journal.ts";
import type { EntryStore } from "./key-values/entry-store.ts";
import { LogTrimming } from "./log/log-trimming.ts";
import type { Runs, SegmentDirectory } from "./messages/message-index.ts";
import { readRunHeader, skipMessage } from "./messages/message-run.ts";
import type { MessageStore } from "./messages/message-store.ts";
import type { Queue } from "./messages/queues.ts";
import { recordKind } from "./records.ts";

const lookEveryMs = 5_000;
/** A segment of which more than this is still needed is left alone while the journal as a whole is not worse. */
const liveRatioMax = 0.5;
/** After so much copying, others get a turn. */
const copiedAtOnceBytes = 1024 * 1024;

/**
 * Gives disk space back. Segments leave oldest first: what somebody still needs of the oldest one (unsettled messages,
 * what logs keep, waiting delays, current key-values) is appended anew, at its own offsets and versions, and then the file is removed.
 * Nothing is ever rewritten in place, and nothing unsettled leaves by age.
 */
export class Cleaner {
  readonly #core: Core;
  readonly #messages: MessageStore;
  readonly #stores: readonly EntryStore[];
  readonly #logs: LogTrimming;
  readonly #sizeBytesMax: number;
  /** How much of each sealed segment somebody has yet to settle, and since when that has not changed. */
  readonly #unsettled = new Map<number, { readonly bytes: number; readonly since: number }>();
  /** Older ones may be gone; this one and all behind it must be there. */
  #oldest = 1;
  #cancel: Cancel | undefined;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(core: Core, messages: MessageStore, stores: readonly EntryStore[], sizeBytesMax: number) {
    this.#core = core;
    this.#messages = messages;
    this.#stores = stores;
    this.#logs = new LogTrimming(messages);
    this.#sizeBytesMax = sizeBytesMax;
  }

  start(): void {
    if (this.#stopped) return;
    this.#cancel = this.#core.world.timers.schedule(lookEveryMs, () => {
      void this.clean().then(() => this.start());
    });
  }

  replayOldest(payload: Buffer): void {
    this.#oldest = new Reader(payload).u32();
  }

  appendOldest(journal: Journal): void {
    const at = journal.append(recordKind.oldestSegment, 4);
    new Writer(journal.buffer, at).u32(this.#oldest);
  }

  /** Throws `corrupt` when the journal begins later than it was left: then somebody else removed a segment. */
  checkOldest(): void {
    const first = this.#core.journal.segments[0]!.segment;
    if (first <= this.#oldest) return;
    throw corrupt(`${this.#core.directory}/${segmentFileName(this.#oldest)}`, 0, "a segment's file is missing");
  }

  /** Waits for a copy that is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.#running;
  }

  /** Removes every segment that may go now. */
  clean(): Promise<void> {
    this.#running ??= this.#clean().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #clean(): Promise<void> {
    try {
      // Retention does not give way to a disk that was full a while ago.
      await this.#core.journal.checkIfFull();
      if (this.#stopped) return;
      await this.#logs.trim();
      if (this.#stopped) return;
      this.#sealGarbage();
      // What is copied forward now has its own turn later, lest one pass never ends.
      const upTo = this.#core.journal.segments.at(-2)?.segment ?? 0;
      this.#look();
      while (!this.#stopped) {
        const oldest = this.#core.journal.segments[0]!;
        if (oldest.segment > upTo) return;
        if (!this.#mayGo(oldest.segment, oldest.sizeBytes)) return;
        if (!(await this.#remove(oldest.segment))) return;
        await this.#core.journal.checkIfFull();
      }
    } catch (error) {
      // A failing disk ends the journal by itself; anything else must not go unseen.
      if (!this.#stopped) this.#core.world.log.log("error", "cleaning the journal failed", { error: String(error) });
    }
  }

  get #stopped(): boolean {
    return this.#closed || this.#core.closed;
  }

  /** When space is short, what is settled of the active segment can only be given back once it is sealed. */
  #sealGarbage(): void {
    const active = this.#core.journal.segments.at(-1)!;
    if (!this.#short) return;
    let live = this.#entriesBytes(active.segment) + this.#messages.delayed.waitingIn(active.segment);
    for (const queue of this.#messages.queues.activeQueues) {
      const { first, end, bytes } = queue.active!;
      live += unsettledPart(queue, first, end, bytes);
    }
    if (live <= active.sizeBytes * liveRatioMax) this.#core.journal.roll();
  }

  /**
   * Retention counts from settlement, which only shows as a segment's unsettled part growing smaller: what is settled of it has been
   * for as long as that part has stayed the same.
   */
  #look(): void {
    const now = this.#core.world.clock.monotonic();
    for (const { segment } of this.#core.journal.segments.slice(0, -1)) {
      const bytes = this.#unsettledBytes(segment);
      if (this.#unsettled.get(segment)?.bytes !== bytes) this.#unsettled.set(segment, { bytes, since: now });
    }
  }

  #mayGo(segment: number, sizeBytes: number): boolean {
    if (!this.#short && this.#isRetained(segment)) return false;
    return this.#liveBytes(segment) <= sizeBytes * liveRatioMax || this.#mostlyGarbage();
  }

  /** Its settled messages, or the ids that it remembers, are still to be kept. */
  #isRetained(segment: number): boolean {
    if (this.#messages.ids.needs(segment, this.#core.world.clock.now())) return true;
    const since = this.#unsettled.get(segment)?.since ?? Number.POSITIVE_INFINITY;
    return this.#core.world.clock.monotonic() - since < this.#retentionMs(segment);
  }

  /** Space is so short that retention has to give way. */
  get #short(): boolean {
    return this.#core.journal.full || this.#core.journal.sizeBytes > this.#sizeBytesMax * 0.8;
  }

  /** The oldest is full of life, but the segments behind it are not, and only their turn can free them. */
  #mostlyGarbage(): boolean {
    const sealed = this.#core.journal.segments.slice(0, -1);
    if (sealed.length < 4) return false;
    let live = 0;
    let total = 0;
    for (const { segment, sizeBytes } of sealed) {
      live += !this.#short && this.#isRetained(segment) ? sizeBytes : this.#liveBytes(segment);
      total += sizeBytes;
    }
    return live < total * liveRatioMax;
  }

  #directory(segment: number): SegmentDirectory | undefined {
    return this.#messages.index.directories.find((directory) => directory.segment === segment);
  }

  #liveBytes(segment: number): number {
    const others = this.#entriesBytes(segment) + this.#messages.delayed.waitingIn(segment);
    return others + this.#unsettledBytes(segment);
  }

  #entriesBytes(segment: number): number {
    return this.#stores.reduce((bytes, store) => bytes + store.liveBytes(segment), 0);
  }

  #unsettledBytes(segment: number): number {
    let bytes = 0;
    const directory = this.#directory(segment);
    for (let slot = 0; slot < (directory?.size ?? 0); slot++) {
      const queue = this.#messages.catalogue.findQueue(directory!.queueAt(slot));
      if (queue === undefined) continue;
      bytes += unsettledPart(queue, directory!.first(slot), directory!.end(slot), directory!.bytes(slot));
    }
    return bytes;
  }

  /** The longest retention among the topics that have messages in the segment. */
  #retentionMs(segment: number): number {
    const directory = this.#directory(segment);
    let retentionMs = 0;
    for (let slot = 0; slot < (directory?.size ?? 0); slot++) {
      const queue = this.#messages.catalogue.findQueue(directory!.queueAt(slot));
      retentionMs = Math.max(retentionMs, queue?.topic.settings.retentionMs ?? 0);
    }
    return retentionMs;
  }

  async #remove(segment: number): Promise<boolean> {
    const directory = this.#directory(segment);
    for (let slot = 0; slot < (directory?.size ?? 0) && !this.#stopped; slot++)
      await this.#moveMessages(directory!, slot);
    if (this.#stopped) return false;
    for (const store of this.#stores) {
      await store.move(segment);
      if (this.#stopped) return false;
    }
    if (!(await this.#messages.delayed.move(segment))) return false;
    this.#oldest = segment + 1;
    this.appendOldest(this.#core.journal);
    await this.#core.journal.durable();
    if (this.#stopped) return false;
    this.#messages.index.dropSegment(segment);
    this.#unsettled.delete(segment);
    await this.#core.journal.dropOldest();
    return true;
  }

  async #moveMessages(directory: SegmentDirectory, slot: number): Promise<void> {
    const queue = this.#messages.catalogue.findQueue(directory.queueAt(slot));
    if (queue === undefined || queue.settledBelow >= directory.end(slot)) return;
    const runs = await this.#messages.index.runsOf(directory, slot);
    let copiedBytes = 0;
    for (let i = 0; i < runs.firsts.length && !this.#stopped && !queue.topic.removed; i++) {
      if (runs.firsts[i]! + runs.counts[i]! <= queue.settledBelow) continue;
      copiedBytes += await this.#moveRun(this.#core.journal, queue, runs, i);
      if (copiedBytes < copiedAtOnceBytes) continue;
      copiedBytes = 0;
      await this.#core.journal.durable();
    }
  }

  /** Copies the unsettled messages of a run, each stretch of neighbours as one run. */
  async #moveRun(journal: Journal, queue: Queue, runs: Runs, index: number): Promise<number> {
    const payload = await journal.read(positionOf(runs.segment, runs.records[index]!));
    if (this.#stopped || queue.topic.removed) return 0;
    const reader = new Reader(payload);
    const header = readRunHeader(reader);
    let stretch: Buffer[] = [];
    let bytes = 0;
    for (let i = 0; i <= header.count; i++) {
      const offset = header.first + i;
      const start = reader.at;
      if (i < header.count) skipMessage(reader);
      const needed = i < header.count && isNeeded(queue, offset);
      if (needed) stretch.push(payload.subarray(start, reader.at));
      else if (stretch.length > 0) {
        this.#messages.move(queue, offset - stretch.length, header.publishedAt, stretch);
        stretch = [];
      }
      if (needed) bytes += reader.at - start;
    }
    return bytes;
  }
}

/** Somebody has yet to settle it, or its log keeps it. */
function isNeeded(queue: Queue, offset: number): boolean {
  if (queue.topic.log !== undefined) return offset >= queue.start;
  return queue.lanes.some((lane) => !lane.settled.has(offset));
}

/** How many of the bytes that a queue's messages from `first` to `end` take are of unsettled ones. */
function unsettledPart(queue: Queue, first: number, end: number, bytes: number): number {
  const unsettled = end - Math.max(first, Math.min(end, queue.settledBelow));
  return (bytes * unsettled) / (end - first);
}
