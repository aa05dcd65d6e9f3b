import type { TenonError } from "../../../contracts/errors.ts";
import type { World } from "../../../world/world.ts";
import type { Journal } from "./journal.ts";

/** Where a record stands: its segment's number × 2^32 + the byte offset of the record's header in the segment's file. */
export type Position = number;

export function positionOf(segment: number, offset: number): Position {
  return segment * 2 ** 32 + offset;
}

export function segmentOf(position: Position): number {
  return Math.floor(position / 2 ** 32);
}

export function offsetOf(position: Position): number {
  return position >>> 0;
}

/**
 * What is built on the journal: deterministic functions of its records. Every call is synchronous. Buffers that are handed in
 * are valid for the length of the call; what is to be kept must be copied.
 */
export interface JournalState {
  /** On opening: the footer of each sealed segment that is older than the replayed one, oldest first. */
  loadFooter(segment: number, footer: Buffer, sizeBytes: number): void;
  /** On opening: each record of the replayed segment in order, its snapshot first. */
  replay(kind: number, payload: Buffer, position: Position): void;
  /** On sealing: what this segment's footer shall hold (its index). Every record of the segment has its position by then. */
  footer(segment: number): Uint8Array;
  /**
   * At the start of each new segment: appends the small state as records, through `journal.append`. The journal is handed in because
   * the very first segment is begun before `Journal.open` has resolved.
   */
  snapshot(journal: Journal): void;
  /** Everything appended in batches up to this number is durable. Called before the waiters of `durable()` hear of it. */
  durable(batch: number): void;
  /** The journal failed and is closed; the waiters got an error whose outcome is `unknown`. Called once. */
  failed(error: TenonError): void;
}

export interface JournalOptions {
  readonly world: World;
  /** Made when it is not there. Names in it that are not the journal's are left alone. */
  readonly directory: string;
  readonly state: JournalState;
  /** `"async"`: a change counts as durable when the operating system has it; it is synced within a second. */
  readonly durability: "sync" | "async";
  /** A segment is sealed when the next record would put more than this behind its snapshot; 64 MiB when left out. */
  readonly segmentBytes?: number | undefined;
  /** How much of what was written last stays in memory for reading; 32 MiB when left out. */
  readonly tailBytes?: number | undefined;
  /** The bound of what is kept of older parts after reading them; 32 MiB when left out. */
  readonly readCacheBytes?: number | undefined;
  /** Disk space kept back, to be given up when the disk is full; 16 MiB when left out, 0 for none. */
  readonly reserveBytes?: number | undefined;
  /** The used part of the disk from which on the journal is `full`; 0.9 when left out. */
  readonly fullRatio?: number | undefined;
}
