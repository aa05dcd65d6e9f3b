import { SettledWindow } from "../../lanes/settled-window.ts";
import { type Reader, Writer } from "../cursor.ts";
import type { Journal } from "../journal/journal.ts";
import { recordKind, snapshotChunkCount } from "../records.ts";
import type { Group } from "./catalogue.ts";
import type { LaneOwner } from "./lane-owner.ts";
import type { Queue } from "./queues.ts";

/** What is remembered of an unsettled message; offsets are numbers inside the engine. */
export interface HeldEntry {
  readonly failures: number;
  readonly deliveries: number;
  readonly dueAt: number;
}

/** The progress of one group in one partition: a function of the journal's records. */
export class Lane {
  readonly id: number;
  readonly group: Group;
  readonly queue: Queue;
  settled: SettledWindow;
  readonly held = new Map<number, HeldEntry>();
  /** The number of the last grant. */
  fence = 0;
  /** Whether the last grant has not been released in order. */
  granted = false;
  /** See `Lane.suspectBelow` of the contract. */
  suspectBelow = 0;
  /** Who has it now; not part of the journal. */
  owner: LaneOwner | undefined;

  constructor(id: number, group: Group, queue: Queue, low: number) {
    this.id = id;
    this.group = group;
    this.queue = queue;
    this.settled = new SettledWindow(low);
  }

  get lag(): number {
    return Math.max(0, this.queue.visible - this.settled.low - this.settled.aboveCount);
  }

  settle(offset: number): void {
    this.settled.add(offset);
    if (this.held.size > 0) this.held.delete(offset);
  }

  hold(offset: number, entry: HeldEntry): void {
    if (!this.settled.has(offset)) this.held.set(offset, entry);
  }

  /** Everything below `end` is settled. */
  settleBelow(end: number): void {
    this.settled.addBelow(end);
    for (const offset of this.held.keys()) if (offset < end) this.held.delete(offset);
  }

  seek(low: number): void {
    this.settled = new SettledWindow(low);
    this.held.clear();
    this.suspectBelow = 0;
  }

  /** The process that owned it died: every message that was there may have been in its hands. */
  ownerVanished(): void {
    if (!this.granted) return;
    this.granted = false;
    this.suspectBelow = this.queue.next;
  }
}

const heldBytes = 4 + 4 + 4 + 8;

/**
 * `lane u32 · fence f64 · base f64 · low f64 · settled count u32 · held count u32 · offsets - base u32 … · held …`. `low`: everything below
 * is settled then, also the gaps that the lane went past, of which nothing else tells.
 */
export function laneCommitBytes(settledCount: number, heldCount: number): number {
  return 4 + 8 + 8 + 8 + 4 + 4 + settledCount * 4 + heldCount * heldBytes;
}

export function writeHeld(writer: Writer, base: number, offset: number, entry: HeldEntry): void {
  writer
    .u32(offset - base)
    .u32(entry.failures)
    .u32(entry.deliveries)
    .f64(entry.dueAt);
}

/** A grant or an orderly release: `lane u32 · fence f64`. */
export function replayGrant(reader: Reader, granted: boolean, laneOf: (id: number) => Lane): void {
  const lane = laneOf(reader.u32());
  lane.fence = reader.f64();
  lane.granted = granted;
  if (!granted) lane.suspectBelow = 0;
}

/** `lane u32 · low f64` */
export function replaySeek(reader: Reader, laneOf: (id: number) => Lane): void {
  const lane = laneOf(reader.u32());
  lane.seek(storedOffset(reader.f64(), lane.queue.next));
}

/** Offsets that were written were stored before; anything else is not what was written. */
function storedOffset(offset: number, endMax: number): number {
  if (Number.isInteger(offset) && offset >= 0 && offset <= endMax) return offset;
  throw new RangeError(`the offset ${offset} is beyond the end of its queue, ${endMax}`);
}

export function replayLaneCommit(reader: Reader, laneOf: (id: number) => Lane): void {
  const lane = laneOf(reader.u32());
  reader.f64();
  const base = storedOffset(reader.f64(), lane.queue.next);
  const low = storedOffset(reader.f64(), lane.queue.next);
  const settledCount = reader.u32();
  const heldCount = reader.u32();
  for (let i = 0; i < settledCount; i++) lane.settle(storedOffset(base + reader.u32(), lane.queue.next - 1));
  lane.settleBelow(low);
  for (let i = 0; i < heldCount; i++) readHeld(reader, base, lane);
}

function readHeld(reader: Reader, base: number, lane: Lane): void {
  const offset = storedOffset(base + reader.u32(), lane.queue.next - 1);
  lane.hold(offset, { failures: reader.u32(), deliveries: reader.u32(), dueAt: reader.f64() });
}

/** Held entries as the commits that tell of them, some per record: a record is limited, and a lane may hold very many. */
export function appendHeld(journal: Journal, lane: Lane): void {
  const entries = [...lane.held];
  for (let from = 0; from < entries.length; from += snapshotChunkCount) {
    const chunk = entries.slice(from, from + snapshotChunkCount);
    const at = journal.append(recordKind.laneCommit, laneCommitBytes(0, chunk.length));
    const writer = new Writer(journal.buffer, at);
    const { low } = lane.settled;
    writer.u32(lane.id).f64(lane.fence).f64(low).f64(low).u32(0).u32(chunk.length);
    for (const [offset, entry] of chunk) writeHeld(writer, low, offset, entry);
  }
}

/**
 * `lane u32 · low f64 · fence f64 · granted u8 · suspect below f64 · above count u32 · bytes u32 · above`. What is settled above `low`
 * is a list of offsets - low (u32), or the window's own bits where these take less: then `bytes` says how many.
 */
export function laneSnapshotBytes(lane: Lane): number {
  return 4 + 8 + 8 + 1 + 8 + 4 + 4 + (bitsOf(lane)?.length ?? lane.settled.aboveCount * 4);
}

function bitsOf({ settled }: Lane): Uint8Array | undefined {
  return settled.bits !== undefined && settled.bits.length < settled.aboveCount * 4 ? settled.bits : undefined;
}

export function writeLaneSnapshot(writer: Writer, lane: Lane): void {
  const low = lane.settled.low;
  const bits = bitsOf(lane);
  writer
    .u32(lane.id)
    .f64(low)
    .f64(lane.fence)
    .u8(lane.granted ? 1 : 0)
    .f64(lane.suspectBelow);
  writer.u32(lane.settled.aboveCount).u32(bits?.length ?? 0);
  if (bits !== undefined) writer.bytes(bits);
  else for (const offset of lane.settled.above()) writer.u32(offset - low);
}

export function replayLaneSnapshot(reader: Reader, laneOf: (id: number) => Lane): void {
  const lane = laneOf(reader.u32());
  const low = storedOffset(reader.f64(), lane.queue.next);
  lane.seek(low);
  lane.fence = reader.f64();
  lane.granted = reader.u8() === 1;
  lane.suspectBelow = reader.f64();
  const aboveCount = reader.u32();
  const bits = reader.bytes(reader.u32());
  const settle = (offset: number) => lane.settled.add(storedOffset(offset, lane.queue.next - 1));
  if (bits.length === 0) for (let i = 0; i < aboveCount; i++) settle(low + reader.u32());
  for (let offset = low; offset < low + bits.length * 8; offset++) {
    const bit = offset % (bits.length * 8);
    if ((bits[bit >>> 3]! & (1 << (bit & 7))) !== 0) settle(offset);
  }
}
