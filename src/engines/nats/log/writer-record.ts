import { ByteReader, ByteWriter } from "../../shared/binary.ts";

const format = 1;

/** Where a writer has put something in a log: a partition that it stored outputs in, or a reader's partition where it said where that stands. */
export interface WriterPlace {
  readonly partition: number;
  /** `undefined`: outputs. */
  readonly reader: string | undefined;
}

/**
 * What is known of a writer's name in one log. A writer puts a place down before it first puts something there; whoever opens the name next fences each of these places, and no other: a former
 * writer cannot put a new one down, as this is changed only if it is as it was read.
 */
export interface WriterRecord {
  /** The greatest that was opened. */
  readonly epoch: number;
  readonly places: readonly WriterPlace[];
}

export function placeName({ partition, reader }: WriterPlace): string {
  return reader === undefined ? `${partition}` : `${partition}/${reader}`;
}

export function encodeWriter({ epoch, places }: WriterRecord): Buffer {
  const writer = new ByteWriter().u8(format).whole(epoch).whole(places.length);
  for (const { partition, reader } of places) {
    writer.whole(partition).u8(reader === undefined ? 0 : 1);
    if (reader !== undefined) writer.text(reader);
  }
  return writer.done();
}

export function decodeWriter(bytes: Buffer): WriterRecord {
  const reader = new ByteReader(bytes, "a writer of a log");
  if (reader.u8() !== format) throw reader.corrupt();
  const epoch = reader.whole();
  const places: WriterPlace[] = [];
  for (let left = reader.whole(); left > 0; left--) {
    const partition = reader.whole();
    places.push({ partition, reader: reader.u8() === 0 ? undefined : reader.text() });
  }
  reader.end();
  return { epoch, places };
}
