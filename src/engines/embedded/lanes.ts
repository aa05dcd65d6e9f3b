import type { Group } from "./catalogue.ts";
import type { Reader, Writer } from "./cursor.ts";
import type { LaneOwner } from "./lane-owner.ts";
import type { Queue } from "./queues.ts";
import { SettledWindow } from "./settled-window.ts";

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

/** `lane u32 · fence f64 · base f64 · settled count u32 · held count u32 · offsets - base u32 … · held …` */
export function laneCommitBytes(settledCount: number, heldCount: number): number {
  return 4 + 8 + 8 + 4 + 4 + settledCount * 4 + heldCount * heldBytes;
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
  const base = reader.f64();
  const settledCount = reader.u32();
  const heldCount = reader.u32();
  for (let i = 0; i < settledCount; i++) lane.settle(storedOffset(base + reader.u32(), lane.queue.next - 1));
  for (let i = 0; i < heldCount; i++) readHeld(reader, base, lane);
}

function readHeld(reader: Reader, base: number, lane: Lane): void {
  const offset = storedOffset(base + reader.u32(), lane.queue.next - 1);
  lane.hold(offset, { failures: reader.u32(), deliveries: reader.u32(), dueAt: reader.f64() });
}

/** `lane u32 · low f64 · fence f64 · granted u8 · suspect below f64 · above count u32 · held count u32 · above … · held …` */
export function laneSnapshotBytes(lane: Lane): number {
  return 4 + 8 + 8 + 1 + 8 + 4 + 4 + lane.settled.aboveCount * 4 + lane.held.size * heldBytes;
}

export function writeLaneSnapshot(writer: Writer, lane: Lane): void {
  const low = lane.settled.low;
  writer
    .u32(lane.id)
    .f64(low)
    .f64(lane.fence)
    .u8(lane.granted ? 1 : 0)
    .f64(lane.suspectBelow);
  writer.u32(lane.settled.aboveCount).u32(lane.held.size);
  for (const offset of lane.settled.above()) writer.u32(offset - low);
  for (const [offset, entry] of lane.held) writeHeld(writer, low, offset, entry);
}

export function replayLaneSnapshot(reader: Reader, laneOf: (id: number) => Lane): void {
  const lane = laneOf(reader.u32());
  const low = storedOffset(reader.f64(), lane.queue.next);
  lane.seek(low);
  lane.fence = reader.f64();
  lane.granted = reader.u8() === 1;
  lane.suspectBelow = reader.f64();
  const aboveCount = reader.u32();
  const heldCount = reader.u32();
  for (let i = 0; i < aboveCount; i++) lane.settled.add(storedOffset(low + reader.u32(), lane.queue.next - 1));
  for (let i = 0; i < heldCount; i++) readHeld(reader, low, lane);
}
