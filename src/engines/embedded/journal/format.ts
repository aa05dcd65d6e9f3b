/**
 * The journal on disk.
 *
 * A journal is a directory of *segments*, numbered from 1 without gaps: `0000000000000001.journal` and so on (16 hexadecimal
 * digits). Files only grow; the one thing that is ever taken back is the end of the newest one, when a journal is opened. All
 * numbers are little-endian and unsigned. Everything starts at a multiple of 8 bytes; bytes that pad are 0.
 *
 * A segment is a sequence of *batches*. Each was written by one append and committed by one sync:
 *
 *     at  0  u32  magic "TNJB"
 *     at  4  u8   version, 1
 *     at  5  u8   role: 1 data, 2 snapshot, 3 last batch of the snapshot, 4 footer, 5 clean close
 *     at  6  u16  0
 *     at  8  u64  identity of the journal, drawn when it was made; the same in each of its segments
 *     at 16  u32  epoch: grows with every opening of the journal
 *     at 20  u32  number of the segment
 *     at 24  u32  offset of this batch in the segment
 *     at 28  u32  length of this batch in bytes, this header included
 *     at 32  u32  count of its records
 *     at 36  u32  durable end: the segment …
 *     at 40  u32  … and the offset in it, up to which everything was known to be durable when this batch was written
 *     at 44  u32  CRC-32 of the checksums of the records, one after the other
 *     at 48  u32  0
 *     at 52  u32  CRC-32 of the 52 bytes before
 *     at 56       the records
 *
 * A *record*, at a multiple of 8:
 *
 *     at  0  u32  length of the payload, at most 16 MiB (only a footer may be longer)
 *     at  4  u32  CRC-32 of the payload, begun with a value made of segment, offset, kind and length (see `recordSeed`), so
 *                 that a record is valid in its own place only
 *     at  8  u8   kind: what the state machines make of it
 *     at  9       0 0 0
 *     at 12       the payload, padded to a multiple of 8
 *
 * A segment begins with the *snapshot*: the small state as it was when the segment was begun, in batches of role 2 and a
 * last one of role 3 (which may have no records). Then come batches of role 1. A clean close leaves a batch of role 5 without
 * records; an opening after it goes on behind it. Sealing a segment ends it with one batch of role 4, whose two records are
 * the footer (kind 1) and the CRC-32 of each 64 KiB of it (kind 2), and a *trailer* of 40 bytes at the very end of the file:
 *
 *     at  0  u32  magic "TNJE"
 *     at  4  u32  number of the segment
 *     at  8  u64  identity of the journal
 *     at 16  u32  offset of the footer's batch
 *     at 20  u32  length of the footer's payload
 *     at 24  u32  size of the file
 *     at 28  u32  0
 *     at 32  u32  0
 *     at 36  u32  CRC-32 of the 36 bytes before
 */
import { crc32 } from "node:zlib";

export const BATCH_HEADER_BYTES = 56;
export const RECORD_HEADER_BYTES = 12;
export const TRAILER_BYTES = 40;
export const RECORD_PAYLOAD_BYTES_MAX = 16 * 1024 * 1024;
/** How much of a footer one checksum covers, so that a part of it can be read and verified alone. */
export const FOOTER_PAGE_BYTES = 64 * 1024;
export const FOOTER_KIND = 1;
export const FOOTER_CHECKSUMS_KIND = 2;
/** Offsets are 32 bits wide. */
export const SEGMENT_FILE_BYTES_MAX = 2 ** 32 - 8;

const VERSION = 1;
const BATCH_MAGIC = 0x424a4e54;
const TRAILER_MAGIC = 0x454a4e54;
const BATCH_MAGIC_BYTES = Buffer.from("TNJB", "latin1");

export type BatchRole = "data" | "snapshot" | "snapshot-end" | "footer" | "closed";
const ROLES: readonly (BatchRole | undefined)[] = [undefined, "data", "snapshot", "snapshot-end", "footer", "closed"];

export interface BatchHeader {
  readonly role: BatchRole;
  readonly identity: bigint;
  readonly epoch: number;
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
  readonly count: number;
  readonly durableSegment: number;
  readonly durableOffset: number;
  readonly recordsChecksum: number;
}

export interface Trailer {
  readonly segment: number;
  readonly identity: bigint;
  readonly footerBatchOffset: number;
  readonly footerBytes: number;
  readonly fileBytes: number;
}

export function segmentFileName(segment: number): string {
  return `${segment.toString(16).padStart(16, "0")}.journal`;
}

/** The number of the segment that a file of this name holds; `undefined` when the name is not one of a segment. */
export function segmentOfFileName(name: string): number | undefined {
  if (!/^[0-9a-f]{16}\.journal$/.test(name)) return undefined;
  const segment = Number.parseInt(name.slice(0, 16), 16);
  return segment >= 1 && segment < 2 ** 21 ? segment : undefined;
}

export function padded(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** The size of a whole record in the file. */
export function recordBytes(payloadBytes: number): number {
  return padded(RECORD_HEADER_BYTES + payloadBytes);
}

/** At most what so many records with so many payload bytes take as a batch of their own. */
export function recordsBytesMax(payloadBytes: number, records: number): number {
  return BATCH_HEADER_BYTES + payloadBytes + records * (RECORD_HEADER_BYTES + 7);
}

/**
 * What a record's checksum begins with. The factors are odd, so that a change of any one of the four always changes the
 * checksum; a record that stands elsewhere than where it was written is found out.
 */
export function recordSeed(segment: number, offset: number, kind: number, length: number): number {
  return (
    (Math.imul(segment, 0x9e3779b1) ^
      Math.imul(offset, 0x85ebca6b) ^
      Math.imul(kind + 1, 0xc2b2ae35) ^
      Math.imul(length, 0x27d4eb2f)) >>>
    0
  );
}

/** Writes all of a record's header but its checksum, and its padding. */
export function writeRecordHeader(bytes: Buffer, at: number, kind: number, length: number): void {
  bytes.writeUInt32LE(length, at);
  bytes.writeUInt32LE(0, at + 4);
  bytes.writeUInt32LE(kind, at + 8);
  const payloadEnd = at + RECORD_HEADER_BYTES + length;
  const end = at + recordBytes(length);
  for (let padding = payloadEnd; padding < end; padding++) bytes[padding] = 0;
}

export function recordLength(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at);
}

export function recordKind(bytes: Buffer, at: number): number {
  return bytes[at + 8]!;
}

export function recordPayload(bytes: Buffer, at: number): Buffer {
  const start = at + RECORD_HEADER_BYTES;
  return bytes.subarray(start, start + bytes.readUInt32LE(at));
}

function recordChecksum(bytes: Buffer, at: number, segment: number, offset: number): number {
  return crc32(recordPayload(bytes, at), recordSeed(segment, offset, recordKind(bytes, at), recordLength(bytes, at)));
}

/** Whether the record at `at`, which stands at `offset` of its segment, is what was written. All of it must be in `bytes`. */
export function recordIsValid(bytes: Buffer, at: number, segment: number, offset: number): boolean {
  return bytes.readUInt32LE(at + 4) === recordChecksum(bytes, at, segment, offset);
}

let checksums = Buffer.allocUnsafeSlow(4096);
/** Scratch space for the checksums of a batch. Its content never outlives a call. */
function checksumScratch(count: number): Buffer {
  if (checksums.length < count * 4) checksums = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(count * 4)));
  return checksums;
}

/**
 * Fills in the checksums of the records that stand between `from` and `to` and the batch's header, which is to stand at
 * `from`. `offset` is where the batch stands in its segment. One pass over the payloads.
 */
export function sealBatch(
  bytes: Buffer,
  from: number,
  to: number,
  header: Omit<BatchHeader, "length" | "count" | "recordsChecksum">,
): void {
  const scratch = checksumScratch((to - from) / 16);
  let count = 0;
  for (let at = from + BATCH_HEADER_BYTES; at < to; at += recordBytes(recordLength(bytes, at))) {
    const checksum = recordChecksum(bytes, at, header.segment, header.offset + at - from);
    bytes.writeUInt32LE(checksum, at + 4);
    scratch.writeUInt32LE(checksum, count * 4);
    count += 1;
  }
  bytes.writeUInt32LE(BATCH_MAGIC, from);
  bytes.writeUInt32LE(VERSION | (ROLES.indexOf(header.role) << 8), from + 4);
  bytes.writeBigUInt64LE(header.identity, from + 8);
  bytes.writeUInt32LE(header.epoch, from + 16);
  bytes.writeUInt32LE(header.segment, from + 20);
  bytes.writeUInt32LE(header.offset, from + 24);
  bytes.writeUInt32LE(to - from, from + 28);
  bytes.writeUInt32LE(count, from + 32);
  bytes.writeUInt32LE(header.durableSegment, from + 36);
  bytes.writeUInt32LE(header.durableOffset, from + 40);
  bytes.writeUInt32LE(crc32(scratch.subarray(0, count * 4)), from + 44);
  bytes.writeUInt32LE(0, from + 48);
  bytes.writeUInt32LE(crc32(bytes.subarray(from, from + 52)), from + 52);
}

/** The header at `at`, when a whole and valid one stands there; whether it belongs there is for the caller to check. */
export function readBatchHeader(bytes: Buffer, at: number): BatchHeader | undefined {
  if (at + BATCH_HEADER_BYTES > bytes.length || bytes.readUInt32LE(at) !== BATCH_MAGIC) return undefined;
  if (bytes.readUInt32LE(at + 52) !== crc32(bytes.subarray(at, at + 52))) return undefined;
  const role = ROLES[bytes[at + 5]!];
  if (bytes[at + 4] !== VERSION || role === undefined) return undefined;
  return {
    role,
    identity: bytes.readBigUInt64LE(at + 8),
    epoch: bytes.readUInt32LE(at + 16),
    segment: bytes.readUInt32LE(at + 20),
    offset: bytes.readUInt32LE(at + 24),
    length: bytes.readUInt32LE(at + 28),
    count: bytes.readUInt32LE(at + 32),
    durableSegment: bytes.readUInt32LE(at + 36),
    durableOffset: bytes.readUInt32LE(at + 40),
    recordsChecksum: bytes.readUInt32LE(at + 44),
  };
}

/** Where the next possible batch header stands, from `from` on; -1 when there is none. */
export function findBatchMagic(bytes: Buffer, from: number): number {
  return bytes.indexOf(BATCH_MAGIC_BYTES, from);
}

/** What is wrong with the records of a batch, of which all `header.length` bytes stand from `at`; `undefined` when nothing is. */
export function findRecordFault(bytes: Buffer, at: number, header: BatchHeader): string | undefined {
  const end = at + header.length;
  if (header.count > header.length / 16) return "it counts more records than fit";
  const scratch = checksumScratch(header.count);
  let record = at + BATCH_HEADER_BYTES;
  for (let index = 0; index < header.count; index++) {
    if (record + RECORD_HEADER_BYTES > end) return "its records end early";
    const length = recordLength(bytes, record);
    if (record + recordBytes(length) > end) return "a record is longer than the batch";
    const checksum = bytes.readUInt32LE(record + 4);
    if (checksum !== recordChecksum(bytes, record, header.segment, header.offset + record - at)) {
      return "a record's checksum is wrong";
    }
    scratch.writeUInt32LE(checksum, index * 4);
    record += recordBytes(length);
  }
  if (record !== end) return "it has bytes beyond its records";
  return crc32(scratch.subarray(0, header.count * 4)) === header.recordsChecksum ? undefined : "its records are others";
}

export interface FooterBatch {
  /** The batch and the trailer: what is appended to the file. The caller seals the batch. */
  readonly bytes: Buffer;
  readonly batchBytes: number;
  /** The footer's payload, within `bytes`. */
  readonly payload: Buffer;
  readonly pageChecksums: Uint32Array;
}

/** The last batch of a segment with its trailer; everything but the batch's checksums and header is filled in. */
export function encodeFooter(footer: Uint8Array, segment: number, identity: bigint, batchOffset: number): FooterBatch {
  const pageChecksums = checksumPages(footer);
  const checksumsAt = BATCH_HEADER_BYTES + recordBytes(footer.length);
  const batchBytes = checksumsAt + recordBytes(pageChecksums.length * 4);
  const bytes = Buffer.alloc(batchBytes + TRAILER_BYTES);
  writeRecordHeader(bytes, BATCH_HEADER_BYTES, FOOTER_KIND, footer.length);
  bytes.set(footer, BATCH_HEADER_BYTES + RECORD_HEADER_BYTES);
  writeRecordHeader(bytes, checksumsAt, FOOTER_CHECKSUMS_KIND, pageChecksums.length * 4);
  pageChecksums.forEach((checksum, page) => {
    bytes.writeUInt32LE(checksum, checksumsAt + RECORD_HEADER_BYTES + page * 4);
  });
  bytes.writeUInt32LE(TRAILER_MAGIC, batchBytes);
  bytes.writeUInt32LE(segment, batchBytes + 4);
  bytes.writeBigUInt64LE(identity, batchBytes + 8);
  bytes.writeUInt32LE(batchOffset, batchBytes + 16);
  bytes.writeUInt32LE(footer.length, batchBytes + 20);
  bytes.writeUInt32LE(batchOffset + bytes.length, batchBytes + 24);
  bytes.writeUInt32LE(crc32(bytes.subarray(batchBytes, batchBytes + 36)), batchBytes + 36);
  return { bytes, batchBytes, payload: recordPayload(bytes, BATCH_HEADER_BYTES), pageChecksums };
}

/** The trailer at `at`, when a whole and valid one stands there. */
export function readTrailer(bytes: Buffer, at: number): Trailer | undefined {
  if (at < 0 || at + TRAILER_BYTES > bytes.length || bytes.readUInt32LE(at) !== TRAILER_MAGIC) return undefined;
  if (bytes.readUInt32LE(at + 36) !== crc32(bytes.subarray(at, at + 36))) return undefined;
  return {
    segment: bytes.readUInt32LE(at + 4),
    identity: bytes.readBigUInt64LE(at + 8),
    footerBatchOffset: bytes.readUInt32LE(at + 16),
    footerBytes: bytes.readUInt32LE(at + 20),
    fileBytes: bytes.readUInt32LE(at + 24),
  };
}

export function checksumPages(footer: Uint8Array): Uint32Array {
  const pages = new Uint32Array(Math.ceil(footer.length / FOOTER_PAGE_BYTES));
  for (let page = 0; page < pages.length; page++) {
    pages[page] = crc32(footer.subarray(page * FOOTER_PAGE_BYTES, (page + 1) * FOOTER_PAGE_BYTES));
  }
  return pages;
}
