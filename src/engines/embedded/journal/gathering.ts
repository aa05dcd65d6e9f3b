import { assert } from "../../../contracts/errors.ts";
import {
  BATCH_HEADER_BYTES,
  type BatchRole,
  RECORD_HEADER_BYTES,
  recordBytes,
  recordPayload,
  writeRecordHeader,
} from "./format.ts";
import { type Position, positionOf } from "./state.ts";

/**
 * A stretch of memory whose content equals that of the file from `fileOffset` on. It is filled once and never used again, so
 * that views of its records stay valid for as long as somebody holds them.
 */
interface Arena {
  readonly segment: number;
  readonly fileOffset: number;
  readonly bytes: Buffer;
  used: number;
  /** The number of the last batch that has bytes here. */
  lastBatch: number;
}

/** A batch that takes no more records and waits to be written. Its header and checksums are not filled in yet. */
export interface ClosedBatch {
  readonly number: number;
  readonly role: BatchRole;
  readonly segment: number;
  /** Where it stands in its segment. */
  readonly offset: number;
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

const ARENA_BYTES_MAX = 4 * 1024 * 1024;
const ARENA_BYTES_MIN = 16 * 1024;

/**
 * The records that were appended and not written yet, and the last `tailBytes` of those that were. Appending is a matter of
 * twelve bytes written and a few fields changed: nothing is allocated per record.
 */
export class Gathering {
  /** The arena that is being filled. */
  buffer: Buffer;
  position: Position = 0;
  /** The number of the batch being gathered. */
  batch = 1;
  /** How many records the batch being gathered has. */
  count = 0;
  segment: number;
  /** Where the batch being gathered, or the next one, starts in the arena. */
  #batchStart = 0;
  #arena: Arena;
  readonly #arenas: Arena[] = [];
  #arenaBytesTotal = 0;
  readonly #arenaBytes: number;
  readonly #tailBytes: number;
  readonly #closed: (batch: ClosedBatch) => void;

  constructor(options: {
    readonly segment: number;
    readonly offset: number;
    readonly tailBytes: number;
    readonly closed: (batch: ClosedBatch) => void;
  }) {
    this.segment = options.segment;
    this.#tailBytes = options.tailBytes;
    this.#arenaBytes = Math.min(ARENA_BYTES_MAX, Math.max(ARENA_BYTES_MIN, Math.floor(options.tailBytes / 8)));
    this.#closed = options.closed;
    this.#arena = {
      segment: options.segment,
      fileOffset: options.offset,
      bytes: Buffer.alloc(0),
      used: 0,
      lastBatch: 0,
    };
    this.buffer = this.#arena.bytes;
  }

  /** Where the segment's file will end when everything appended is written. */
  get fileEnd(): number {
    return this.#arena.fileOffset + this.#arena.used;
  }

  /** How much the file would grow by a record of this payload. */
  growth(payloadBytes: number): number {
    return recordBytes(payloadBytes) + (this.count === 0 ? BATCH_HEADER_BYTES : 0);
  }

  /** Adds a record to the batch and returns where its payload starts in `buffer`. */
  append(kind: number, length: number, role: BatchRole): number {
    const size = recordBytes(length);
    const growth = this.count === 0 ? size + BATCH_HEADER_BYTES : size;
    if (this.#arena.used + growth > this.#arena.bytes.length) {
      this.close(role);
      this.#startArena(size + BATCH_HEADER_BYTES);
    }
    const arena = this.#arena;
    if (this.count === 0) this.#begin();
    const at = arena.used;
    writeRecordHeader(arena.bytes, at, kind, length);
    arena.used = at + size;
    this.count += 1;
    this.position = positionOf(arena.segment, arena.fileOffset + at);
    return at + RECORD_HEADER_BYTES;
  }

  /** Makes room for records that take `bytes` with their headers, and with that of a batch, without another batch. */
  ensure(bytes: number): void {
    if (this.#arena.used + bytes <= this.#arena.bytes.length) return;
    this.close("data");
    this.#startArena(bytes);
  }

  /** Ends the batch being gathered, if it has records, and hands it to `closed`. */
  close(role: BatchRole): void {
    if (this.count > 0) this.#end(role);
  }

  /** Ends the batch being gathered also when it has no records. */
  closeMarked(role: "snapshot-end" | "closed"): void {
    if (this.count === 0) {
      if (this.#arena.used + BATCH_HEADER_BYTES > this.#arena.bytes.length) this.#startArena(BATCH_HEADER_BYTES);
      this.#begin();
    }
    this.#end(role);
  }

  /** Takes the number of a batch that is written but not gathered here (a footer). */
  takeBatchNumber(): number {
    assert(this.count === 0, "A batch number was taken while records were gathered under it.");
    this.batch += 1;
    return this.batch - 1;
  }

  startSegment(segment: number): void {
    assert(this.count === 0, "A segment was begun while records of the former one were not closed.");
    this.segment = segment;
    this.#arena = { segment, fileOffset: 0, bytes: Buffer.alloc(0), used: 0, lastBatch: 0 };
    this.buffer = this.#arena.bytes;
    this.#batchStart = 0;
  }

  /** The payload of the record at this place, if it is in memory. */
  payload(segment: number, offset: number): Buffer | undefined {
    for (let index = this.#arenas.length - 1; index >= 0; index--) {
      const arena = this.#arenas[index]!;
      if (arena.segment < segment) return undefined;
      if (arena.segment !== segment || offset < arena.fileOffset) continue;
      const at = offset - arena.fileOffset;
      if (at + RECORD_HEADER_BYTES > arena.used) return undefined;
      return recordPayload(arena.bytes, at);
    }
    return undefined;
  }

  /** Forgets the oldest arenas beyond `tailBytes`, as far as their batches are written (up to `writtenBatch`). */
  trim(writtenBatch: number): void {
    let droppable = 0;
    while (this.#arenaBytesTotal > this.#tailBytes && droppable < this.#arenas.length - 1) {
      const arena = this.#arenas[droppable]!;
      if (arena.lastBatch > writtenBatch) break;
      this.#arenaBytesTotal -= arena.bytes.length;
      droppable += 1;
    }
    if (droppable > 0) this.#arenas.splice(0, droppable);
  }

  #begin(): void {
    this.#batchStart = this.#arena.used;
    this.#arena.used += BATCH_HEADER_BYTES;
    this.#arena.lastBatch = this.batch;
  }

  #end(role: BatchRole): void {
    const arena = this.#arena;
    const batch: ClosedBatch = {
      number: this.batch,
      role,
      segment: arena.segment,
      offset: arena.fileOffset + this.#batchStart,
      bytes: arena.bytes,
      from: this.#batchStart,
      to: arena.used,
    };
    this.batch += 1;
    this.count = 0;
    this.#closed(batch);
  }

  #startArena(neededBytes: number): void {
    const bytes = Buffer.allocUnsafeSlow(Math.max(this.#arenaBytes, neededBytes));
    this.#arena = { segment: this.segment, fileOffset: this.fileEnd, bytes, used: 0, lastBatch: 0 };
    this.#arenas.push(this.#arena);
    this.#arenaBytesTotal += bytes.length;
    this.buffer = bytes;
  }
}
