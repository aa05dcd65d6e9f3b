import type { Position } from "../journal/journal.ts";
import type { Queue } from "./queues.ts";

/**
 * Where messages lie: for each queue the runs that hold its offsets. The active segment's runs stand in memory, those
 * of a sealed segment in its footer; of a footer only the directory (32 bytes per queue that has messages in the
 * segment) is kept, so a backlog costs memory per segment and queue, not per message.
 */
export interface Runs {
  /** Parallel and sorted by `firsts`. */
  readonly firsts: ArrayLike<number>;
  readonly counts: ArrayLike<number>;
  /** Offsets of the records within the segment's file. */
  readonly records: ArrayLike<number>;
  readonly segment: number;
}

/** The run that holds the smallest stored offset at or after the one asked for. */
export interface Location {
  readonly runs: Runs;
  /** As it was when it was found: the active segment's runs are put in order anew when some were copied forward. */
  readonly index: number;
  readonly position: Position;
}

export function locationAt(runs: Runs, index: number): Location {
  return { runs, index, position: runs.segment * 2 ** 32 + runs.records[index]! };
}

/** One queue's runs in the active segment. */
export class ActiveRuns implements Runs {
  readonly firsts: number[] = [];
  readonly counts: number[] = [];
  readonly records: number[] = [];
  readonly segment: number;
  bytes = 0;
  /** Moved runs come behind newer ones; the order is put right when somebody looks. */
  #sorted = true;

  constructor(segment: number) {
    this.segment = segment;
  }

  add(first: number, count: number, record: number, bytes: number): void {
    const last = this.firsts.length - 1;
    if (last >= 0 && first < this.firsts[last]!) this.#sorted = false;
    this.firsts.push(first);
    this.counts.push(count);
    this.records.push(record);
    this.bytes += bytes;
  }

  sort(): void {
    if (this.#sorted) return;
    const order = this.firsts.map((_, index) => index).sort((a, b) => this.firsts[a]! - this.firsts[b]!);
    for (const column of [this.firsts, this.counts, this.records]) {
      const sorted = order.map((index) => column[index]!);
      for (let i = 0; i < sorted.length; i++) column[i] = sorted[i]!;
    }
    this.#sorted = true;
  }

  get first(): number {
    this.sort();
    return this.firsts[0]!;
  }

  get end(): number {
    this.sort();
    const last = this.firsts.length - 1;
    return this.firsts[last]! + this.counts[last]!;
  }
}

/** The index of the run that holds `offset`, else of the first run after it; the number of runs when there is none. */
export function findRun(runs: Runs, offset: number): number {
  let from = 0;
  let to = runs.firsts.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (runs.firsts[middle]! + runs.counts[middle]! > offset) to = middle;
    else from = middle + 1;
  }
  return from;
}

const entryBytes = 12;
const directoryEntryBytes = 32;

/** A sealed segment's directory: which queues it has runs of, and where in its footer these stand. */
export class SegmentDirectory {
  readonly segment: number;
  readonly #queues: Uint32Array;
  readonly #counts: Uint32Array;
  readonly #starts: Uint32Array;
  readonly #bytes: Uint32Array;
  readonly #firsts: Float64Array;
  readonly #ends: Float64Array;

  private constructor(segment: number, size: number) {
    this.segment = segment;
    this.#queues = new Uint32Array(size);
    this.#counts = new Uint32Array(size);
    this.#starts = new Uint32Array(size);
    this.#bytes = new Uint32Array(size);
    this.#firsts = new Float64Array(size);
    this.#ends = new Float64Array(size);
  }

  get size(): number {
    return this.#queues.length;
  }

  /** Where a queue stands in the directory; -1 when the segment has none of its messages. */
  slot(queue: number): number {
    let from = 0;
    let to = this.#queues.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#queues[middle]! < queue) from = middle + 1;
      else to = middle;
    }
    return this.#queues[from] === queue ? from : -1;
  }

  queueAt(slot: number): number {
    return this.#queues[slot]!;
  }

  first(slot: number): number {
    return this.#firsts[slot]!;
  }

  end(slot: number): number {
    return this.#ends[slot]!;
  }

  bytes(slot: number): number {
    return this.#bytes[slot]!;
  }

  /** Which bytes of the footer hold the queue's runs. */
  range(slot: number): { readonly from: number; readonly to: number } {
    const from = this.#starts[slot]!;
    return { from, to: from + this.#counts[slot]! * entryBytes };
  }

  /** Directory and runs of the active segment as the footer's first section. */
  static encode(active: readonly Queue[]): Buffer {
    const queues = active.filter((queue) => queue.active !== undefined).sort((a, b) => a.id - b.id);
    const runCount = queues.reduce((sum, queue) => sum + queue.active!.firsts.length, 0);
    const buffer = Buffer.allocUnsafe(8 + queues.length * directoryEntryBytes + runCount * entryBytes);
    let start = 8 + queues.length * directoryEntryBytes;
    buffer.writeUInt32LE(buffer.length, 0);
    let at = buffer.writeUInt32LE(queues.length, 4);
    for (const queue of queues) {
      const runs = queue.active!;
      at = buffer.writeUInt32LE(queue.id, at);
      at = buffer.writeUInt32LE(runs.firsts.length, at);
      at = buffer.writeUInt32LE(start, at);
      at = buffer.writeUInt32LE(Math.min(runs.bytes, 0xffffffff), at);
      at = buffer.writeDoubleLE(runs.first, at);
      at = buffer.writeDoubleLE(runs.end, at);
      start = writeRuns(buffer, start, runs);
    }
    return buffer;
  }

  static decode(segment: number, footer: Buffer): { directory: SegmentDirectory; sectionBytes: number } {
    const sectionBytes = footer.readUInt32LE(0);
    const size = footer.readUInt32LE(4);
    if (8 + size * directoryEntryBytes > sectionBytes || sectionBytes > footer.length) {
      throw new RangeError(`a directory of ${size} queues in ${sectionBytes} of ${footer.length} bytes`);
    }
    const directory = new SegmentDirectory(segment, size);
    for (let slot = 0; slot < size; slot++) {
      const at = 8 + slot * directoryEntryBytes;
      directory.#queues[slot] = footer.readUInt32LE(at);
      directory.#counts[slot] = footer.readUInt32LE(at + 4);
      directory.#starts[slot] = footer.readUInt32LE(at + 8);
      directory.#bytes[slot] = footer.readUInt32LE(at + 12);
      directory.#firsts[slot] = footer.readDoubleLE(at + 16);
      directory.#ends[slot] = footer.readDoubleLE(at + 24);
    }
    return { directory, sectionBytes };
  }

  /** Reads one queue's runs out of the bytes that `range` names. */
  decodeRuns(slot: number, bytes: Buffer): Runs {
    const base = this.#firsts[slot]!;
    const count = this.#counts[slot]!;
    const firsts = new Float64Array(count);
    const counts = new Uint32Array(count);
    const records = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      firsts[i] = base + bytes.readUInt32LE(i * entryBytes);
      counts[i] = bytes.readUInt32LE(i * entryBytes + 4);
      records[i] = bytes.readUInt32LE(i * entryBytes + 8);
    }
    return { firsts, counts, records, segment: this.segment };
  }
}

function writeRuns(buffer: Buffer, start: number, runs: ActiveRuns): number {
  const base = runs.first;
  let at = start;
  for (let i = 0; i < runs.firsts.length; i++) {
    at = buffer.writeUInt32LE(runs.firsts[i]! - base, at);
    at = buffer.writeUInt32LE(runs.counts[i]!, at);
    at = buffer.writeUInt32LE(runs.records[i]!, at);
  }
  return at;
}

/** What the index needs of the journal. */
export interface FooterSource {
  readFooterPart(segment: number, from: number, to: number): Buffer | Promise<Buffer>;
}

const cachedRunsMax = 256;

export class MessageIndex {
  readonly #footers: FooterSource;
  /** Oldest first. */
  #directories: SegmentDirectory[] = [];
  /** Decoded runs of sealed segments, the least recently used first. */
  readonly #decoded = new Map<string, Runs>();
  /** Grows when a segment goes away, so that cursors know that theirs may have. */
  generation = 0;

  constructor(footers: FooterSource) {
    this.#footers = footers;
  }

  get directories(): readonly SegmentDirectory[] {
    return this.#directories;
  }

  addSegment(directory: SegmentDirectory): void {
    this.#directories.push(directory);
  }

  dropSegment(segment: number): void {
    this.#directories = this.#directories.filter((directory) => directory.segment !== segment);
    for (const [name, runs] of this.#decoded) if (runs.segment === segment) this.#decoded.delete(name);
    this.generation += 1;
  }

  /** The oldest stored offset of a queue, or its next when nothing is stored. */
  firstOffset(queue: Queue): number {
    let first = queue.active?.first ?? queue.next;
    for (const directory of this.#directories) {
      const slot = directory.slot(queue.id);
      if (slot >= 0) first = Math.min(first, directory.first(slot));
    }
    return first;
  }

  /** The run that holds the smallest stored offset ≥ `offset`; `undefined` when there is none. */
  locate(queue: Queue, offset: number): Location | undefined | Promise<Location | undefined> {
    let candidates: { directory: SegmentDirectory; slot: number }[] | undefined;
    for (const directory of this.#directories) {
      const slot = directory.slot(queue.id);
      if (slot >= 0 && directory.end(slot) > offset) {
        candidates ??= [];
        candidates.push({ directory, slot });
      }
    }
    if (candidates === undefined) return locateIn(queue.active, offset);
    return this.#locateAmong(candidates, queue.active, offset);
  }

  async #locateAmong(
    candidates: { directory: SegmentDirectory; slot: number }[],
    active: ActiveRuns | undefined,
    offset: number,
  ): Promise<Location | undefined> {
    let best: Location | undefined;
    for (const { directory, slot } of candidates) {
      const known = nearer(best, locateIn(active, offset), offset);
      if (known !== undefined && firstAt(known, offset) <= Math.max(offset, directory.first(slot))) continue;
      best = nearer(locateIn(await this.#runs(directory, slot), offset), best, offset);
    }
    // At last, for where it stood before what was waited for it may stand no more.
    return nearer(best, locateIn(active, offset), offset);
  }

  async #runs(directory: SegmentDirectory, slot: number): Promise<Runs> {
    const name = `${directory.segment}/${slot}`;
    const cached = this.#decoded.get(name);
    if (cached !== undefined) {
      this.#decoded.delete(name);
      this.#decoded.set(name, cached);
      return cached;
    }
    const { from, to } = directory.range(slot);
    const runs = directory.decodeRuns(slot, await this.#footers.readFooterPart(directory.segment, from, to));
    this.#decoded.set(name, runs);
    if (this.#decoded.size > cachedRunsMax) this.#decoded.delete(this.#decoded.keys().next().value!);
    return runs;
  }

  /** Every run of one queue in a sealed segment; for copying forward. */
  runsOf(directory: SegmentDirectory, slot: number): Promise<Runs> {
    return this.#runs(directory, slot);
  }
}

function locateIn(runs: Runs | undefined, offset: number): Location | undefined {
  if (runs === undefined) return undefined;
  if (runs instanceof ActiveRuns) runs.sort();
  const index = findRun(runs, offset);
  return index < runs.firsts.length ? locationAt(runs, index) : undefined;
}

/** The one that begins first; `b` when both do. */
function nearer(a: Location | undefined, b: Location | undefined, offset: number): Location | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return firstAt(a, offset) < firstAt(b, offset) ? a : b;
}

/** The smallest offset ≥ `offset` that the located run holds. */
function firstAt(location: Location, offset: number): number {
  return Math.max(offset, location.runs.firsts[location.index]!);
}

export function recordPosition(location: Location): Position {
  return location.position;
}
