import { corrupt } from "./failures.ts";
import {
  BATCH_HEADER_BYTES,
  type BatchHeader,
  findBatchMagic,
  findRecordFault,
  readBatchHeader,
  recordBytes,
  recordKind,
  recordLength,
  recordPayload,
} from "./format.ts";
import { type Position, positionOf } from "./state.ts";

/** What a segment's bytes hold, as far as they are valid. */
export interface SegmentScan {
  /** `undefined` when not one batch is valid. */
  readonly identity: bigint | undefined;
  /** Of the last valid batch; 0 when there is none. */
  readonly epoch: number;
  /** Where the complete snapshot ends; `undefined` when it is not complete. */
  readonly snapshotEndBytes: number | undefined;
  /** Where the valid batches end, not counting a footer. */
  readonly endBytes: number;
  /** Up to here a valid batch says that everything was durable when it was written. */
  readonly provenBytes: number;
  /** Where the footer's batch ends, if there is a valid one. */
  readonly footerEndBytes: number | undefined;
  /** Why the valid batches end before the bytes do. */
  readonly fault: string | undefined;
}

/**
 * Follows the batches of a segment from its start. Where they stop being valid, what comes behind decides: a valid header that
 * was written when more than this was known to be durable makes it corruption (thrown, naming `file` and the place); else
 * the rest is the torn tail of a crash. Any bytes may be given.
 */
export function scanSegment(bytes: Buffer, segment: number, file: string): SegmentScan {
  let identity: bigint | undefined;
  let epoch = 0;
  let snapshotEndBytes: number | undefined;
  let provenBytes = 0;
  let at = 0;
  const stopped = (fault: string | undefined): SegmentScan => {
    return { identity, epoch, snapshotEndBytes, endBytes: at, provenBytes, footerEndBytes: undefined, fault };
  };
  while (at < bytes.length) {
    const header = readBatchHeader(bytes, at);
    const snapshotComplete = snapshotEndBytes !== undefined;
    const fault = findFault(bytes, at, header, { identity, epoch, segment, snapshotComplete });
    if (fault !== undefined || header === undefined) {
      refuseIfDurable(bytes, at, fault ?? "", { identity, epoch, segment, file });
      return stopped(fault);
    }
    identity = header.identity;
    epoch = header.epoch;
    if (header.durableSegment === segment) provenBytes = Math.max(provenBytes, header.durableOffset);
    if (header.role === "footer") {
      const end = at + header.length;
      refuseIfDurable(bytes, end, "a batch behind the footer", { identity, epoch, segment, file });
      return { ...stopped(undefined), footerEndBytes: end };
    }
    at += header.length;
    if (header.role === "snapshot-end") snapshotEndBytes = at;
  }
  return stopped(undefined);
}

interface Expected {
  readonly identity: bigint | undefined;
  readonly epoch: number;
  readonly segment: number;
}

function findFault(
  bytes: Buffer,
  at: number,
  header: BatchHeader | undefined,
  expected: Expected & { readonly snapshotComplete: boolean },
): string | undefined {
  if (header === undefined) return "no valid batch header";
  if (header.segment !== expected.segment) return `a batch of segment ${header.segment}`;
  if (header.offset !== at) return `a batch that belongs at byte ${header.offset}`;
  if (expected.identity !== undefined && header.identity !== expected.identity) return "a batch of another journal";
  if (header.epoch < expected.epoch) return "a batch of an earlier epoch";
  if (header.durableSegment > header.segment) return "a batch that claims more than itself to be durable";
  if (header.durableSegment === header.segment && header.durableOffset > at) {
    return "a batch that claims more than what is before it to be durable";
  }
  if (header.length < BATCH_HEADER_BYTES || header.length % 8 !== 0) return "a batch of an impossible length";
  if (at + header.length > bytes.length) return "a batch that is longer than the file";
  const inSnapshot = header.role === "snapshot" || header.role === "snapshot-end";
  if (inSnapshot === expected.snapshotComplete) return "a batch that is out of turn";
  const recordFault = findRecordFault(bytes, at, header);
  return recordFault === undefined ? undefined : `a batch is damaged (${recordFault})`;
}

/** Throws when something valid behind the bad batch at `at` says that this batch was durable, or belongs to another file. */
function refuseIfDurable(
  bytes: Buffer,
  at: number,
  fault: string,
  expected: Expected & { readonly file: string },
): void {
  for (let place = findBatchMagic(bytes, at); place >= 0; place = findBatchMagic(bytes, place + 1)) {
    if (place % 8 !== 0) continue;
    const header = readBatchHeader(bytes, place);
    if (header === undefined || header.offset !== place) continue;
    // A whole header in its place, but of another segment or journal: files were mixed up, which no crash does.
    const foreign = header.segment !== expected.segment || header.identity !== (expected.identity ?? header.identity);
    const later = header.epoch >= expected.epoch && header.durableSegment === header.segment;
    if (foreign || (later && header.durableOffset > at)) {
      throw corrupt(expected.file, at, `${fault} where ${foreign ? "none can be" : "durable data was"}`);
    }
  }
}

/** Calls `record` for each record of the valid batches that stand before `endBytes`, in order. */
export function replayRecords(
  bytes: Buffer,
  endBytes: number,
  segment: number,
  record: (kind: number, payload: Buffer, position: Position) => void,
): void {
  let at = 0;
  while (at < endBytes) {
    const end = at + bytes.readUInt32LE(at + 28);
    for (at += BATCH_HEADER_BYTES; at < end; at += recordBytes(recordLength(bytes, at))) {
      record(recordKind(bytes, at), recordPayload(bytes, at), positionOf(segment, at));
    }
  }
}
