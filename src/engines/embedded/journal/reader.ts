import { crc32 } from "node:zlib";
import type { Disk, DiskFile } from "../../../world/world.ts";
import { corrupt, diskFailure, journalClosed } from "./failures.ts";
import {
  BATCH_HEADER_BYTES,
  FOOTER_PAGE_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_PAYLOAD_BYTES_MAX,
  recordBytes,
  recordIsValid,
  recordLength,
  recordPayload,
  segmentFileName,
} from "./format.ts";
import { ReadCache } from "./read-cache.ts";
import { positionOf } from "./state.ts";

/** Where a sealed segment's footer stands, and what its pages must sum up to. */
export interface FooterPlace {
  readonly segment: number;
  readonly batchOffset: number;
  readonly bytes: number;
  readonly pageChecksums: Uint32Array;
}

const CHUNK_BYTES = 1024 * 1024;
/** Read beyond a chunk's end, so that the record that crosses it needs no second read as a rule. */
const OVERLAP_BYTES = 64 * 1024;
const OPEN_FILES_MAX = 32;

interface OpenFile {
  readonly path: string;
  readonly file: Promise<DiskFile>;
  users: number;
  forgotten: boolean;
}

/** Reads what is no longer in memory: in large chunks, each by one disk call however many wait for it, through a bounded cache. */
export class Reader {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #cache: ReadCache;
  readonly #loading = new Map<number, Promise<Buffer>>();
  readonly #files = new Map<number, OpenFile>();
  readonly #writtenBytes: (segment: number) => number;
  #closed = false;

  constructor(options: {
    readonly disk: Disk;
    readonly directory: string;
    readonly cacheBytes: number;
    /** How much of a segment's file is written and will not change; 0 when there is no such segment. */
    readonly writtenBytes: (segment: number) => number;
  }) {
    this.#disk = options.disk;
    this.#directory = options.directory;
    this.#cache = new ReadCache(options.cacheBytes);
    this.#writtenBytes = options.writtenBytes;
  }

  record(segment: number, offset: number): Buffer | Promise<Buffer> {
    const chunk = Math.floor(offset / CHUNK_BYTES);
    const cached = this.#cache.get(positionOf(segment, chunk));
    if (cached !== undefined) {
      const found = this.#recordIn(cached, segment, offset);
      if (typeof found !== "number") return found;
    }
    return this.#loadRecord(segment, offset);
  }

  async #loadRecord(segment: number, offset: number): Promise<Buffer> {
    const chunk = Math.floor(offset / CHUNK_BYTES);
    let needed = (offset % CHUNK_BYTES) + RECORD_HEADER_BYTES;
    for (;;) {
      const bytes = await this.#chunk(segment, chunk, needed);
      const found = this.#recordIn(bytes, segment, offset);
      if (typeof found !== "number") return found;
      needed = found;
    }
  }

  /** The payload of a record; or how many bytes of the chunk are needed to have it. */
  #recordIn(chunk: Buffer, segment: number, offset: number): Buffer | number {
    const at = offset % CHUNK_BYTES;
    if (at + RECORD_HEADER_BYTES > chunk.length) return at + RECORD_HEADER_BYTES;
    const length = recordLength(chunk, at);
    const size = recordBytes(length);
    const fits = length <= RECORD_PAYLOAD_BYTES_MAX && offset + size <= this.#writtenBytes(segment);
    if (fits && at + size > chunk.length) return at + size;
    if (!fits || !recordIsValid(chunk, at, segment, offset)) {
      throw corrupt(this.#path(segment), offset, "there is no valid record");
    }
    return recordPayload(chunk, at);
  }

  /** At least `needed` bytes of a chunk. */
  async #chunk(segment: number, chunk: number, needed: number): Promise<Buffer> {
    const key = positionOf(segment, chunk);
    for (let loading = this.#loading.get(key); loading !== undefined; loading = this.#loading.get(key)) {
      const bytes = await loading;
      if (bytes.length >= needed) return bytes;
    }
    const known = this.#cache.get(key);
    if (known !== undefined && known.length >= needed) return known;
    const loading = this.#loadChunk(segment, chunk, needed, known);
    this.#loading.set(key, loading);
    try {
      const bytes = await loading;
      if (this.#files.has(segment)) this.#cache.set(key, bytes);
      return bytes;
    } finally {
      this.#loading.delete(key);
    }
  }

  async #loadChunk(segment: number, chunk: number, needed: number, known: Buffer | undefined): Promise<Buffer> {
    const start = chunk * CHUNK_BYTES;
    const available = this.#writtenBytes(segment) - start;
    const size = Math.min(available, Math.max(needed, CHUNK_BYTES + OVERLAP_BYTES));
    if (size < needed) throw corrupt(this.#path(segment), start, "the file ends before the record");
    const bytes = Buffer.allocUnsafeSlow(size);
    const have = known?.copy(bytes) ?? 0;
    await this.#readFully(segment, start + have, bytes.subarray(have));
    return bytes;
  }

  async footer(place: FooterPlace): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(place.bytes);
    await this.#readFully(place.segment, this.#footerStart(place), bytes);
    for (let page = 0; page < place.pageChecksums.length; page++) {
      this.#verifyPage(place, page, bytes.subarray(page * FOOTER_PAGE_BYTES, (page + 1) * FOOTER_PAGE_BYTES));
    }
    return bytes;
  }

  footerPart(place: FooterPlace, from: number, to: number): Buffer | Promise<Buffer> {
    const first = Math.floor(from / FOOTER_PAGE_BYTES);
    const last = Math.max(first, Math.ceil(to / FOOTER_PAGE_BYTES) - 1);
    const pages: Buffer[] = [];
    for (let page = first; page <= last; page++) {
      const cached = this.#cache.get(footerPageKey(place.segment, page));
      if (cached === undefined) return this.#loadFooterPart(place, from, to);
      pages.push(cached);
    }
    return partOf(pages, from - first * FOOTER_PAGE_BYTES, to - first * FOOTER_PAGE_BYTES);
  }

  async #loadFooterPart(place: FooterPlace, from: number, to: number): Promise<Buffer> {
    const first = Math.floor(from / FOOTER_PAGE_BYTES);
    const last = Math.max(first, Math.ceil(to / FOOTER_PAGE_BYTES) - 1);
    const pages: Buffer[] = [];
    for (let page = first; page <= last; page++) pages.push(await this.#footerPage(place, page));
    return partOf(pages, from - first * FOOTER_PAGE_BYTES, to - first * FOOTER_PAGE_BYTES);
  }

  async #footerPage(place: FooterPlace, page: number): Promise<Buffer> {
    const key = footerPageKey(place.segment, page);
    const cached = this.#cache.get(key) ?? this.#loading.get(key);
    if (cached !== undefined) return cached;
    const loading = this.#loadFooterPage(place, page);
    this.#loading.set(key, loading);
    try {
      const bytes = await loading;
      if (this.#files.has(place.segment)) this.#cache.set(key, bytes);
      return bytes;
    } finally {
      this.#loading.delete(key);
    }
  }

  async #loadFooterPage(place: FooterPlace, page: number): Promise<Buffer> {
    const at = page * FOOTER_PAGE_BYTES;
    const bytes = Buffer.allocUnsafeSlow(Math.max(0, Math.min(FOOTER_PAGE_BYTES, place.bytes - at)));
    await this.#readFully(place.segment, this.#footerStart(place) + at, bytes);
    this.#verifyPage(place, page, bytes);
    return bytes;
  }

  #footerStart(place: FooterPlace): number {
    return place.batchOffset + BATCH_HEADER_BYTES + RECORD_HEADER_BYTES;
  }

  #verifyPage(place: FooterPlace, page: number, bytes: Buffer): void {
    if (crc32(bytes) === (place.pageChecksums[page] ?? 0)) return;
    const offset = this.#footerStart(place) + page * FOOTER_PAGE_BYTES;
    throw corrupt(this.#path(place.segment), offset, "a page of the segment's footer has a wrong checksum");
  }

  async #readFully(segment: number, position: number, into: Buffer): Promise<void> {
    const open = this.#open(segment);
    open.users += 1;
    try {
      const file = await open.file;
      for (let done = 0; done < into.length; ) {
        const count = await file.read(position + done, into.subarray(done));
        if (count === 0) throw corrupt(open.path, position + done, "the file is shorter than what was written");
        done += count;
      }
    } catch (cause) {
      throw diskFailure("Reading the journal", open.path, cause);
    } finally {
      open.users -= 1;
      this.#closeUnused(open);
    }
  }

  #open(segment: number): OpenFile {
    if (this.#closed) throw journalClosed(this.#directory);
    let open = this.#files.get(segment);
    if (open === undefined) {
      const path = this.#path(segment);
      const opened: OpenFile = { path, file: this.#disk.open(path, "read"), users: 0, forgotten: false };
      // A file that could not be opened is tried again by the next read.
      opened.file.catch(() => {
        if (this.#files.get(segment) === opened) this.#files.delete(segment);
      });
      open = opened;
    } else {
      this.#files.delete(segment);
    }
    this.#files.set(segment, open);
    if (this.#files.size > OPEN_FILES_MAX) this.#release(this.#files.keys().next().value!);
    return open;
  }

  #release(segment: number): void {
    const open = this.#files.get(segment);
    if (open === undefined) return;
    this.#files.delete(segment);
    open.forgotten = true;
    this.#closeUnused(open);
  }

  #closeUnused(open: OpenFile): void {
    if (!open.forgotten || open.users > 0) return;
    // Nothing depends on how closing a file that was only read ends.
    open.file.then((file) => file.close()).catch(() => undefined);
  }

  /** Forgets all of a segment, whose file is about to be removed. Reads under way still end well. */
  forget(segment: number): void {
    this.#release(segment);
    this.#cache.deleteRange(positionOf(segment, 0), positionOf(segment + 1, 0));
  }

  close(): void {
    this.#closed = true;
    for (const segment of [...this.#files.keys()]) this.#release(segment);
  }

  #path(segment: number): string {
    return `${this.#directory}/${segmentFileName(segment)}`;
  }
}

/** Chunks of records are numbered from 0, pages of the footer from 2^31. */
function footerPageKey(segment: number, page: number): number {
  return positionOf(segment, 2 ** 31 + page);
}

function partOf(pages: readonly Buffer[], from: number, to: number): Buffer {
  return (pages.length === 1 ? pages[0]! : Buffer.concat(pages)).subarray(from, to);
}
