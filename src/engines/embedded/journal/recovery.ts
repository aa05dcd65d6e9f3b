import type { Disk, World } from "../../../world/world.ts";
import { corrupt, diskFailure } from "./failures.ts";
import {
  BATCH_HEADER_BYTES,
  checksumPages,
  FOOTER_KIND,
  findRecordFault,
  RECORD_HEADER_BYTES,
  readBatchHeader,
  readTrailer,
  recordBytes,
  recordKind,
  recordLength,
  recordPayload,
  SEGMENT_FILE_BYTES_MAX,
  segmentFileName,
  segmentOfFileName,
  TRAILER_BYTES,
} from "./format.ts";
import type { FooterPlace } from "./reader.ts";
import { replayRecords, type SegmentScan, scanSegment } from "./scan.ts";
import type { JournalState } from "./state.ts";

export interface SealedSegment {
  readonly segment: number;
  readonly sizeBytes: number;
  readonly footer: FooterPlace;
}

/** What an opened journal goes on from. */
export interface Recovered {
  /** Oldest first. */
  readonly sealed: readonly SealedSegment[];
  /** `undefined`: there is none yet, and the first is to be made. */
  readonly active:
    | {
        readonly segment: number;
        readonly snapshotEndBytes: number;
        readonly endBytes: number;
        readonly identity: bigint;
      }
    | undefined;
  /** The greatest epoch that was found. */
  readonly epoch: number;
}

interface Newest {
  readonly segment: number;
  readonly bytes: Buffer;
  readonly scan: SegmentScan;
}

const READ_BYTES = 8 * 1024 * 1024;

/**
 * Reads the journal in `directory` and replays it into `state`. The newest segment whose snapshot is complete is replayed; of the
 * older ones the footers are loaded. A torn tail, a segment whose beginning was interrupted, and a footer behind which no
 * segment was begun are taken back, durably, and only after everything else was found valid.
 */
export async function recover(world: World, directory: string, state: JournalState): Promise<Recovered> {
  try {
    return await new Recovery(world.disk, directory, state).run();
  } catch (cause) {
    throw diskFailure("Opening the journal", directory, cause);
  }
}

class Recovery {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #state: JournalState;

  constructor(disk: Disk, directory: string, state: JournalState) {
    this.#disk = disk;
    this.#directory = directory;
    this.#state = state;
  }

  async run(): Promise<Recovered> {
    const segments = await this.#list();
    const last = segments.at(-1);
    if (last === undefined) return { sealed: [], active: undefined, epoch: 0 };
    const begun = await this.#scan(last);
    if (begun.scan.snapshotEndBytes !== undefined) return this.#replay(segments.slice(0, -1), begun, undefined);
    return this.#replayBefore(segments, begun);
  }

  /** The newest segment's beginning was interrupted: the one before it still has everything. */
  async #replayBefore(segments: readonly number[], begun: Newest): Promise<Recovered> {
    const before = segments.at(-2);
    if (before === undefined) {
      // Nothing was ever acknowledged by a journal whose first snapshot is not complete.
      if (begun.segment !== 1)
        throw corrupt(this.#path(begun.segment), begun.scan.endBytes, this.#lacksSnapshot(begun));
      await this.#removeBegun(begun.segment);
      return { sealed: [], active: undefined, epoch: begun.scan.epoch };
    }
    const newest = await this.#scan(before);
    // A segment's file is made only after the one before it was sealed and synced.
    const sealed = this.#trailer(newest.bytes, before);
    if (newest.scan.fault !== undefined || newest.scan.footerEndBytes === undefined || sealed === undefined) {
      const reason = newest.scan.fault ?? "the footer and its trailer are missing";
      throw corrupt(this.#path(before), newest.scan.endBytes, `${reason}, although a later segment was begun`);
    }
    return this.#replay(segments.slice(0, -2), newest, begun.segment);
  }

  #lacksSnapshot(begun: Newest): string {
    return `${begun.scan.fault ?? "the snapshot is not complete"}, and no earlier segment is there`;
  }

  async #replay(older: readonly number[], newest: Newest, begun: number | undefined): Promise<Recovered> {
    const { segment, bytes, scan } = newest;
    const { identity, snapshotEndBytes, endBytes } = scan;
    if (identity === undefined || snapshotEndBytes === undefined) {
      throw corrupt(this.#path(segment), endBytes, "the snapshot is not complete");
    }
    const sealed: SealedSegment[] = [];
    for (const number of older) sealed.push(await this.#loadFooter(number, identity));
    replayRecords(bytes, endBytes, segment, (kind, payload, position) => {
      this.#state.replay(kind, payload, position);
    });
    if (begun !== undefined) await this.#removeBegun(begun);
    await this.#cut(newest);
    return { sealed, active: { segment, snapshotEndBytes, endBytes, identity }, epoch: scan.epoch };
  }

  async #list(): Promise<number[]> {
    const names = await this.#disk.list(this.#directory);
    const segments = names.flatMap((name) => segmentOfFileName(name) ?? []).sort((a, b) => a - b);
    segments.forEach((segment, index) => {
      const expected = segments[0]! + index;
      if (segment !== expected) throw corrupt(this.#path(expected), 0, "a segment's file is missing");
    });
    return segments;
  }

  async #scan(segment: number): Promise<Newest> {
    const bytes = await this.#read(segment);
    return { segment, bytes, scan: scanSegment(bytes, segment, this.#path(segment)) };
  }

  async #read(segment: number): Promise<Buffer> {
    const path = this.#path(segment);
    const file = await this.#disk.open(path, "read");
    try {
      if (file.sizeBytes > SEGMENT_FILE_BYTES_MAX) throw corrupt(path, SEGMENT_FILE_BYTES_MAX, "the file is too large");
      return await readFrom(file, 0, file.sizeBytes);
    } finally {
      await file.close();
    }
  }

  /** The trailer of a whole file's bytes, when it is there and belongs to it. */
  #trailer(bytes: Buffer, segment: number) {
    const trailer = readTrailer(bytes, bytes.length - TRAILER_BYTES);
    return trailer?.segment === segment && trailer.fileBytes === bytes.length ? trailer : undefined;
  }

  async #loadFooter(segment: number, identity: bigint): Promise<SealedSegment> {
    const path = this.#path(segment);
    const file = await this.#disk.open(path, "read");
    try {
      const sizeBytes = file.sizeBytes;
      const trailerAt = Math.max(0, sizeBytes - TRAILER_BYTES);
      const trailer = readTrailer(await readFrom(file, trailerAt, TRAILER_BYTES), 0);
      const belongs =
        trailer !== undefined &&
        trailer.segment === segment &&
        trailer.identity === identity &&
        trailer.fileBytes === sizeBytes &&
        trailer.footerBatchOffset < trailerAt;
      if (!belongs) throw corrupt(path, trailerAt, "the trailer that ends a sealed segment is missing or another's");
      const batch = await readFrom(file, trailer.footerBatchOffset, trailerAt - trailer.footerBatchOffset);
      const payload = this.#footerPayload(batch, segment, identity, trailer.footerBatchOffset);
      if (payload?.length !== trailer.footerBytes) {
        throw corrupt(path, trailer.footerBatchOffset, "the footer of a sealed segment is not what was written");
      }
      this.#state.loadFooter(segment, payload, sizeBytes);
      const footer = {
        segment,
        batchOffset: trailer.footerBatchOffset,
        bytes: payload.length,
        pageChecksums: checksumPages(payload),
      };
      return { segment, sizeBytes, footer };
    } finally {
      await file.close();
    }
  }

  #footerPayload(batch: Buffer, segment: number, identity: bigint, offset: number): Buffer | undefined {
    const header = readBatchHeader(batch, 0);
    const belongs =
      header !== undefined &&
      header.role === "footer" &&
      header.segment === segment &&
      header.offset === offset &&
      header.identity === identity &&
      header.length === batch.length &&
      header.count === 2;
    if (!belongs || findRecordFault(batch, 0, header) !== undefined) return undefined;
    const at = BATCH_HEADER_BYTES;
    if (recordKind(batch, at) !== FOOTER_KIND) return undefined;
    const checksumsAt = at + recordBytes(recordLength(batch, at)) + RECORD_HEADER_BYTES;
    return checksumsAt <= batch.length ? recordPayload(batch, at) : undefined;
  }

  async #removeBegun(segment: number): Promise<void> {
    await this.#disk.remove(this.#path(segment));
    await this.#disk.syncDirectory(this.#directory);
  }

  /**
   * Takes back what is behind the valid batches and syncs the rest: what was just replayed may have been in the operating system's
   * cache only, and from now on everybody may build on it. What no later batch proves is written again first: where its
   * sync had failed, the system shows it and takes it for written, and no sync of ours would bring it to the disk.
   */
  async #cut({ segment, bytes, scan: { endBytes, provenBytes } }: Newest): Promise<void> {
    const file = await this.#disk.open(this.#path(segment), "append");
    try {
      if (file.sizeBytes > endBytes) await file.truncate(endBytes);
      if (provenBytes < endBytes) await file.rewrite(provenBytes, bytes.subarray(provenBytes, endBytes));
      await file.sync();
    } finally {
      await file.close();
    }
    await this.#disk.syncDirectory(this.#directory);
  }

  #path(segment: number): string {
    return `${this.#directory}/${segmentFileName(segment)}`;
  }
}

/** The bytes from `position` on; fewer than `length` when the file ends. */
async function readFrom(
  file: { read(position: number, into: Uint8Array): Promise<number> },
  position: number,
  length: number,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length);
  let done = 0;
  while (done < length) {
    const count = await file.read(position + done, bytes.subarray(done, Math.min(length, done + READ_BYTES)));
    if (count === 0) break;
    done += count;
  }
  return bytes.subarray(0, done);
}
