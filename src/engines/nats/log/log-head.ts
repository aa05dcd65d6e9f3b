import { ByteReader, ByteWriter } from "../../shared/binary.ts";
import { type RememberedProducers, readProducers, writeProducers } from "../partition-producers.ts";

const format = 1;

/** Where a run lies in its partition. */
export interface LogPlace {
  /** The position of the run's first record, and how many there are. */
  readonly first: number;
  readonly count: number;
  /** When the newest record up to here was appended, by the server's clock as its publisher read it. Never goes back. */
  readonly at: number;
  /** What the records before this run took, since the partition is there, and what those of this run take. */
  readonly before: number;
  readonly bytes: number;
}

/** What is known of a writer in a partition that it wrote to. */
export interface WriterMark {
  /** Lower ones are fenced. */
  readonly epoch: number;
  /** The last that was stored under its name; -1: none. */
  readonly sequence: number;
}

/**
 * All that has to be known of a partition to append to it. It stands before the records of each run; the condition that this run is still the last one makes of an append one atomic change: of records, positions, producers'
 * marks and writers' marks.
 */
export interface LogHead extends LogPlace {
  readonly producers: RememberedProducers;
  /** In the order of their last use. */
  readonly writers: ReadonlyMap<string, WriterMark>;
}

export const newLogPartition: LogHead = {
  first: 0,
  count: 0,
  at: 0,
  before: 0,
  bytes: 0,
  producers: new Map(),
  writers: new Map(),
};

/** The position behind a run. */
export function endOf({ first, count }: Pick<LogPlace, "first" | "count">): number {
  return first + count;
}

/** An empty run after this one. */
export function emptyAfterRun(head: LogHead): LogHead {
  return { ...head, first: endOf(head), count: 0, before: head.before + head.bytes, bytes: 0 };
}

/** A run of so many records after this one. */
export function runAfter(head: LogHead, { count, bytes, now }: { count: number; bytes: number; now: number }): LogHead {
  return { ...emptyAfterRun(head), count, bytes, at: Math.max(head.at, Math.floor(now)) };
}

export function encodeLogRun(head: LogHead, packed: readonly Buffer[]): Buffer {
  const { first, count, at, before, bytes, producers, writers } = head;
  const writer = new ByteWriter().u8(format).whole(first).whole(count).whole(at).whole(before).whole(bytes);
  writeProducers(writer, producers);
  writer.whole(writers.size);
  for (const [name, mark] of writers) writeMark(writer.text(name), mark);
  return Buffer.concat([writer.done(), ...packed]);
}

export function decodeLogRun(bytes: Buffer): { readonly head: LogHead; readonly packed: Buffer } {
  const reader = readerOf(bytes);
  const place = readPlace(reader);
  const producers = readProducers(reader);
  const writers = new Map<string, WriterMark>();
  for (let left = reader.whole(); left > 0; left--) writers.set(reader.text(), readMark(reader));
  return { head: { ...place, producers, writers }, packed: reader.rest() };
}

/** For whoever only looks where a run lies. */
export function decodeLogPlace(bytes: Buffer): LogPlace {
  return readPlace(readerOf(bytes));
}

function readerOf(bytes: Buffer): ByteReader {
  const reader = new ByteReader(bytes, "a run of records");
  if (reader.u8() !== format) throw reader.corrupt();
  return reader;
}

function readPlace(reader: ByteReader): LogPlace {
  const [first, count, at] = [reader.whole(), reader.whole(), reader.whole()];
  return { first, count, at, before: reader.whole(), bytes: reader.whole() };
}

export function writeMark(writer: ByteWriter, { epoch, sequence }: WriterMark): ByteWriter {
  return writer.whole(epoch).whole(sequence + 1);
}

export function readMark(reader: ByteReader): WriterMark {
  return { epoch: reader.whole(), sequence: reader.whole() - 1 };
}
