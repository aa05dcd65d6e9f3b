import { assert, TenonError } from "../../../contracts/errors.ts";
import { diskFailure, journalClosed, journalFailure, notKept, recordTooLong, tooMuchForOneBatch } from "./failures.ts";
import {
  encodeFooter,
  RECORD_PAYLOAD_BYTES_MAX,
  recordsBytesMax,
  SEGMENT_FILE_BYTES_MAX,
  segmentFileName,
} from "./format.ts";
import { Gathering } from "./gathering.ts";
import { Reader } from "./reader.ts";
import { type Recovered, recover, type SealedSegment } from "./recovery.ts";
import { Space } from "./space.ts";
import { type JournalOptions, type JournalState, offsetOf, type Position, segmentOf } from "./state.ts";
import { Writer } from "./writer.ts";

export { type JournalOptions, type JournalState, offsetOf, type Position, positionOf, segmentOf } from "./state.ts";

export interface JournalSegment {
  readonly segment: number;
  readonly sizeBytes: number;
}

interface Waiter {
  readonly batch: number;
  readonly settlement: PromiseWithResolvers<void>;
}

const MEBIBYTE = 1024 * 1024;
/** What `ensureRoom` can keep together. */
const BATCH_BYTES_MAX = 256 * MEBIBYTE;
const SEGMENT_BYTES_MIN = 4096;
const SEGMENT_BYTES_MAX = 1024 * MEBIBYTE;

/**
 * A durable sequence of records in segments. Records are appended synchronously; everything appended while a write is under way
 * is committed together by the next one. `format.ts` describes the files. One process may have a directory open: the lock
 * that sees to it is the caller's.
 */
export class Journal {
  readonly #options: JournalOptions;
  readonly #state: JournalState;
  readonly #segmentBytes: number;
  readonly #space: Space;
  readonly #identity: bigint;
  readonly #gathering: Gathering;
  readonly #writer: Writer;
  readonly #reader: Reader;
  readonly #sealed: SealedSegment[];
  #sealedBytes = 0;
  /** Footers that were not written yet. */
  readonly #footers = new Map<number, Buffer>();
  readonly #waiters: Waiter[] = [];
  /** Somebody waits for the batches up to this one. */
  #wantedBatch = 0;
  #durableBatch = 0;
  #phase: "opening" | "open" | "closing" | "closed" = "opening";
  #part: "data" | "snapshot" | "footer" = "data";
  /** Where the active segment's snapshot ends. */
  #snapshotEnd: number;
  /** Up to here, `ensureRoom` has promised that the active segment goes on. */
  #roomEnd = 0;
  #closing: Promise<void> | undefined;
  #dropping: Promise<unknown> = Promise.resolve();
  #releasing: Promise<void> | undefined;

  /**
   * Opens the journal in a directory, or makes it. Replays it into `state`; resolves when everything that was replayed is
   * durable. `corrupt` when stored bytes are not what was written and this is not the torn tail that a crash leaves.
   */
  static async open(options: JournalOptions): Promise<Journal> {
    const { world, directory } = options;
    const segmentBytes = options.segmentBytes ?? 64 * MEBIBYTE;
    if (!(segmentBytes >= SEGMENT_BYTES_MIN && segmentBytes <= SEGMENT_BYTES_MAX)) {
      const limits = `${SEGMENT_BYTES_MIN} to ${SEGMENT_BYTES_MAX}`;
      throw new TenonError("invalid", `segmentBytes is ${segmentBytes}; it must be ${limits}.`, {
        fields: { segmentBytes },
      });
    }
    const space = new Space({
      world,
      directory,
      reserveBytes: options.reserveBytes ?? 16 * MEBIBYTE,
      fullRatio: options.fullRatio ?? 0.9,
    });
    try {
      await world.disk.makeDirectory(directory);
      const parent = directory.replace(/\/*[^/]+\/*$/, "");
      if (parent !== "") await world.disk.syncDirectory(parent);
    } catch (cause) {
      throw diskFailure("Making the journal's directory", directory, cause);
    }
    const recovered = await recover(world, directory, options.state);
    try {
      await space.check();
      const active = recovered.active && `${directory}/${segmentFileName(recovered.active.segment)}`;
      const file = active === undefined ? undefined : await world.disk.open(active, "append");
      const journal = new Journal(options, segmentBytes, space, recovered, file);
      if (file === undefined) await journal.#beginFirst();
      journal.#phase = "open";
      return journal;
    } catch (cause) {
      throw diskFailure("Opening the journal", directory, cause);
    }
  }

  private constructor(
    options: JournalOptions,
    segmentBytes: number,
    space: Space,
    recovered: Recovered,
    file: ConstructorParameters<typeof Writer>[0]["file"],
  ) {
    const { world, directory } = options;
    const segment = recovered.active?.segment ?? 1;
    this.#options = options;
    this.#state = options.state;
    this.#segmentBytes = segmentBytes;
    this.#space = space;
    this.#identity = recovered.active?.identity ?? Buffer.from(world.random.bytes(8)).readBigUInt64LE();
    this.#snapshotEnd = recovered.active?.snapshotEndBytes ?? 0;
    this.#sealed = [...recovered.sealed];
    this.#sealedBytes = recovered.sealed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    this.#gathering = new Gathering({
      segment,
      offset: recovered.active?.endBytes ?? 0,
      tailBytes: options.tailBytes ?? 32 * MEBIBYTE,
      closed: (batch) => this.#writer.add({ type: "batch", batch }),
    });
    this.#writer = new Writer({
      world,
      directory,
      durability: options.durability,
      space,
      epoch: recovered.epoch + 1,
      identity: this.#identity,
      file,
      segment,
      host: {
        collect: () => this.#collect(),
        appended: () => this.#gathering.position + this.#gathering.batch,
        acknowledge: (batch) => this.#acknowledge(batch),
        footerWritten: (sealed) => this.#footers.delete(sealed),
        failed: (doing, cause, path, offset) => this.#fail(journalFailure(doing, path, offset, cause)),
      },
    });
    this.#reader = new Reader({
      disk: world.disk,
      directory,
      cacheBytes: options.readCacheBytes ?? 32 * MEBIBYTE,
      writtenBytes: (of) => this.#writtenBytes(of),
    });
  }

  /**
   * Adds a record of `length` payload bytes to the batch being gathered, and returns where in `buffer` its payload starts. The caller
   * fills it at once, before anything else is called. `invalid` above 16 MiB. May seal the segment first: then
   * `state.footer` and `state.snapshot` are called from inside.
   */
  append(kind: number, length: number): number {
    if (this.#phase !== "open" && this.#phase !== "opening") throw this.#closedError();
    if (!(length >= 0 && length <= RECORD_PAYLOAD_BYTES_MAX && Number.isInteger(length)))
      throw recordTooLong(kind, length);
    if (!(kind >= 0 && kind <= 255)) throw new TenonError("invalid", `The record kind ${kind} is not within 0 to 255.`);
    const gathering = this.#gathering;
    const end = gathering.fileEnd + gathering.growth(length);
    if (this.#part === "data") {
      if (end > this.#roomEnd) this.#sealBefore(end);
    } else {
      assert(this.#part === "snapshot", "A record was appended while a segment's footer was being made.");
      assert(end <= SEGMENT_FILE_BYTES_MAX, "A snapshot is larger than a segment's file can be.");
    }
    const batch = gathering.batch;
    const at = gathering.append(kind, length, this.#part === "snapshot" ? "snapshot" : "data");
    // The arena was full and its batch closed: it need not wait for somebody to ask.
    if (gathering.batch !== batch) this.#writer.wake();
    return at;
  }

  /**
   * Sees to it that the next `records` records, of `payloadBytes` altogether, come to stand in one batch when they are appended
   * in one synchronous run. Recovery keeps a batch or cuts it whole, so these records are one atomic change. May seal the
   * segment first, as `append` may; for these records `append` then does not.
   */
  ensureRoom(payloadBytes: number, records: number): void {
    if (this.#phase !== "open") throw this.#closedError();
    const growth = recordsBytesMax(payloadBytes, records);
    if (!(payloadBytes >= 0 && records >= 0 && growth <= BATCH_BYTES_MAX))
      throw tooMuchForOneBatch(payloadBytes, records, BATCH_BYTES_MAX);
    this.#sealBefore(this.#gathering.fileEnd + growth);
    const batch = this.#gathering.batch;
    this.#gathering.ensure(growth);
    if (this.#gathering.batch !== batch) this.#writer.wake();
    this.#roomEnd = this.#gathering.fileEnd + growth;
  }

  /** Where the record appended last is to be filled in; another one after the next `append`. */
  get buffer(): Buffer {
    return this.#gathering.buffer;
  }

  /** Of the record appended last. */
  get position(): Position {
    return this.#gathering.position;
  }

  /** The number of the batch being gathered. */
  get batch(): number {
    return this.#gathering.batch;
  }

  /** Batches up to this one are durable (with `durability: "async"`: handed to the operating system). */
  get durableBatch(): number {
    return this.#durableBatch;
  }

  /**
   * Resolves when everything appended so far is durable, and starts the writing. Callers of one batch share the promise. Rejects
   * with outcome `unknown` when the journal fails, with `closed` after that.
   */
  durable(): Promise<void> {
    if (this.#phase !== "open") return Promise.reject(this.#closedError());
    return this.#durableUpTo(this.#lastBatch);
  }

  /**
   * The payload of the record at a position that `append` or `replay` gave. Synchronous when it is in memory. The view stays valid
   * and must not be changed. `corrupt`, naming file and position, when the stored bytes are not what was written;
   * `not-found` when its segment was dropped.
   */
  read(position: Position): Buffer | Promise<Buffer> {
    if (this.#phase === "closed") throw this.#closedError();
    const segment = segmentOf(position);
    const offset = offsetOf(position);
    const gathered = this.#gathering.payload(segment, offset);
    if (gathered !== undefined) return gathered;
    if (this.#writtenBytes(segment) <= offset || offset % 8 !== 0) {
      throw notKept(segment, `record at byte ${offset}`);
    }
    const payload = this.#reader.record(segment, offset);
    return payload instanceof Promise ? this.#unlessDropped(segment, payload, `record at byte ${offset}`) : payload;
  }

  /** Oldest first, the active one last. */
  get segments(): readonly JournalSegment[] {
    const sealed = this.#sealed.map(({ segment, sizeBytes }) => ({ segment, sizeBytes }));
    return [...sealed, { segment: this.#gathering.segment, sizeBytes: this.#gathering.fileEnd }];
  }

  get sizeBytes(): number {
    return this.#sealedBytes + this.#gathering.fileEnd;
  }

  /** The disk is full, or nearly: growth is to be refused. What is appended all the same is still written as long as possible. */
  get full(): boolean {
    return this.#space.full;
  }

  /** Resolves when `full` says how it is now; nothing is looked at while it says no. */
  checkIfFull(): Promise<void> {
    return this.#space.checkIfFull();
  }

  /** Seals the active segment now, unless it has nothing but its snapshot. */
  roll(): void {
    if (this.#phase !== "open") throw this.#closedError();
    if (this.#hasData) this.#seal();
  }

  /** Removes the oldest sealed segment, after everything appended so far is durable. `invalid` when none is sealed. */
  dropOldest(): Promise<void> {
    if (this.#phase !== "open") return Promise.reject(this.#closedError());
    const upTo = this.#lastBatch;
    const dropped = this.#dropping.then(() => this.#drop(upTo));
    this.#dropping = dropped.catch(() => undefined);
    return dropped;
  }

  /** The footer of a sealed segment. */
  async readFooter(segment: number): Promise<Buffer> {
    const pending = this.#footers.get(segment);
    return pending ?? this.#unlessDropped(segment, this.#reader.footer(this.#footerPlace(segment)), "footer");
  }

  /** The bytes [from, to) of a sealed segment's footer; synchronous when they are in memory. */
  readFooterPart(segment: number, from: number, to: number): Buffer | Promise<Buffer> {
    const place = this.#footerPlace(segment);
    if (!(from >= 0 && from <= to && to <= place.bytes)) {
      const fields = { segment, from, to, footerBytes: place.bytes };
      throw new TenonError("invalid", `The footer of segment ${segment} has no bytes ${from} to ${to}.`, { fields });
    }
    const pending = this.#footers.get(segment);
    if (pending !== undefined) return pending.subarray(from, to);
    const part = this.#reader.footerPart(place, from, to);
    return part instanceof Promise ? this.#unlessDropped(segment, part, "footer") : part;
  }

  /** A read that fails because its segment was dropped meanwhile says so, and not that a file is missing or too short. */
  async #unlessDropped(segment: number, read: Promise<Buffer>, what: string): Promise<Buffer> {
    try {
      return await read;
    } catch (cause) {
      const dropped = segment < (this.#sealed[0]?.segment ?? this.#gathering.segment);
      throw dropped ? notKept(segment, what) : cause;
    }
  }

  /** Makes everything durable, leaves the mark of a clean close and closes the files. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  get #hasData(): boolean {
    return this.#gathering.fileEnd > this.#snapshotEnd;
  }

  /** The last batch that has anything. */
  get #lastBatch(): number {
    return this.#gathering.count > 0 ? this.#gathering.batch : this.#gathering.batch - 1;
  }

  async #beginFirst(): Promise<void> {
    this.#writer.add({ type: "create", segment: 1 });
    this.#snapshot();
    await this.#durableUpTo(this.#lastBatch);
    await this.#writer.sync();
  }

  /** Seals the active segment when it would end at `end` and that is too far behind its snapshot. */
  #sealBefore(end: number): void {
    if (end > this.#snapshotEnd + this.#segmentBytes && this.#hasData) this.#seal();
  }

  /**
   * Seals the active segment. When the state cannot give its footer or its snapshot, the journal fails: what would be appended behind
   * half a snapshot would be acknowledged, and taken back by the next opening.
   */
  #seal(): void {
    const { segment, fileEnd } = this.#gathering;
    try {
      this.#beginNext();
    } catch (cause) {
      this.#writer.stop(cause);
      const path = `${this.#options.directory}/${segmentFileName(segment)}`;
      const error = journalFailure("Sealing a segment of the journal", path, fileEnd, cause);
      this.#fail(error);
      throw error;
    }
  }

  /** Ends the segment in memory and begins the next; the files follow in order. */
  #beginNext(): void {
    const gathering = this.#gathering;
    gathering.close("data");
    const { segment, fileEnd: offset } = gathering;
    this.#part = "footer";
    this.#roomEnd = 0;
    const footer = encodeFooter(this.#state.footer(segment), segment, this.#identity, offset);
    this.#writer.add({ type: "footer", number: gathering.takeBatchNumber(), segment, offset, footer });
    this.#footers.set(segment, footer.payload);
    const { payload, pageChecksums } = footer;
    const sizeBytes = offset + footer.bytes.length;
    this.#sealed.push({
      segment,
      sizeBytes,
      footer: { segment, batchOffset: offset, bytes: payload.length, pageChecksums },
    });
    this.#sealedBytes += sizeBytes;
    gathering.startSegment(segment + 1);
    this.#writer.add({ type: "create", segment: segment + 1 });
    this.#snapshot();
    this.#writer.wake();
  }

  #snapshot(): void {
    this.#part = "snapshot";
    this.#state.snapshot(this);
    this.#gathering.closeMarked("snapshot-end");
    this.#part = "data";
    this.#snapshotEnd = this.#gathering.fileEnd;
  }

  #collect(): void {
    if (this.#gathering.batch <= this.#wantedBatch) this.#gathering.close("data");
  }

  #durableUpTo(batch: number): Promise<void> {
    if (batch <= this.#durableBatch) return Promise.resolve();
    const last = this.#waiters.at(-1);
    if (last !== undefined && last.batch >= batch) {
      return this.#waiters.find((waiter) => waiter.batch >= batch)!.settlement.promise;
    }
    const settlement = Promise.withResolvers<void>();
    // Whoever only wants the writing to start may leave the promise alone.
    settlement.promise.catch(() => undefined);
    this.#waiters.push({ batch, settlement });
    this.#wantedBatch = batch;
    this.#writer.wake();
    return settlement.promise;
  }

  #acknowledge(batch: number): void {
    if (this.#phase === "closed") return;
    this.#durableBatch = batch;
    this.#gathering.trim(batch);
    if (this.#phase !== "opening") this.#state.durable(batch);
    let settled = 0;
    while (settled < this.#waiters.length && this.#waiters[settled]!.batch <= batch) settled += 1;
    for (const { settlement } of this.#waiters.splice(0, settled)) settlement.resolve();
  }

  #fail(error: TenonError): void {
    const opening = this.#phase === "opening";
    this.#phase = "closed";
    for (const { settlement } of this.#waiters.splice(0)) settlement.reject(error);
    if (!opening) this.#state.failed(error);
    this.#release().catch(() => undefined);
  }

  async #drop(upTo: number): Promise<void> {
    await this.#durableUpTo(upTo);
    await this.#writer.sync();
    if (this.#phase === "closed") throw this.#closedError();
    const { world, directory } = this.#options;
    const oldest = this.#sealed[0];
    if (oldest === undefined || oldest.segment >= this.#writer.segment) {
      throw new TenonError("invalid", `The journal in ${directory} has no sealed segment to drop.`, {
        fields: { directory },
      });
    }
    const path = `${directory}/${segmentFileName(oldest.segment)}`;
    this.#sealed.shift();
    this.#sealedBytes -= oldest.sizeBytes;
    this.#reader.forget(oldest.segment);
    try {
      await world.disk.remove(path);
    } catch (cause) {
      this.#sealed.unshift(oldest);
      this.#sealedBytes += oldest.sizeBytes;
      throw diskFailure("Dropping a segment of the journal", path, cause);
    }
    try {
      await world.disk.syncDirectory(directory);
    } catch (cause) {
      throw diskFailure("Dropping a segment of the journal", path, cause);
    }
  }

  async #close(): Promise<void> {
    if (this.#phase === "closed") return this.#release();
    this.#phase = "closing";
    await this.#dropping;
    try {
      if (!this.#hasFailed()) {
        this.#gathering.close("data");
        this.#gathering.closeMarked("closed");
        await this.#durableUpTo(this.#lastBatch);
      }
    } finally {
      this.#phase = "closed";
      await this.#release();
    }
  }

  #hasFailed(): boolean {
    return this.#phase === "closed";
  }

  #release(): Promise<void> {
    this.#releasing ??= (async () => {
      this.#reader.close();
      await this.#space.stop();
      await this.#writer.close();
    })();
    return this.#releasing;
  }

  /** How much of a segment's file is written and will not change; 0 when there is no such segment. */
  #writtenBytes(segment: number): number {
    if (segment === this.#writer.segment) return this.#writer.writtenBytes;
    return segment < this.#writer.segment ? (this.#sealedSegment(segment)?.sizeBytes ?? 0) : 0;
  }

  #sealedSegment(segment: number): SealedSegment | undefined {
    // Segments are numbered without gaps.
    return this.#sealed[segment - (this.#sealed[0]?.segment ?? 0)];
  }

  #footerPlace(segment: number) {
    if (this.#phase === "closed") throw this.#closedError();
    const sealed = this.#sealedSegment(segment);
    if (sealed !== undefined) return sealed.footer;
    throw notKept(segment, "footer");
  }

  #closedError(): TenonError {
    return journalClosed(this.#options.directory);
  }
}
