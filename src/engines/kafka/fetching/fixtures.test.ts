/** Batches as a broker stores them, for tests. */
import * as client from "@platformatic/kafka";

const headBytes = 61;
const at = { first: 0, length: 8, magic: 16, checksum: 17, attributes: 21 } as const;
const logAppendTime = 8;

export interface Written {
  readonly first: number;
  /** How far each record's position is from the first; one after the other when left out. */
  readonly deltas?: readonly number[];
  readonly lastOffsetDelta?: number;
  readonly attributes?: number;
  readonly compression?: client.CompressionAlgorithmValue;
}

/** The client has written its records. */
export function stored(records: readonly Partial<client.MessageRecord>[], written: Written): Buffer {
  const { compression = "none" } = written;
  const deltas = written.deltas ?? records.map((_, index) => index);
  const packed = records.map((record, index) =>
    client.createRecord({ topic: "topic", timestamp: 100n, ...record } as client.MessageRecord, deltas[index]!, 100n),
  );
  const { compressSync, bitmask } = client.compressionsAlgorithms[compression];
  const content = compressSync(Buffer.concat(packed.map(({ buffer }) => buffer)));
  const lastOffsetDelta = written.lastOffsetDelta ?? deltas.at(-1) ?? 0;
  const { first, attributes = logAppendTime } = written;
  return storedAs(content, { first, count: records.length, lastOffsetDelta, attributes: attributes | bitmask });
}

export interface Head {
  readonly first: number;
  readonly count: number;
  readonly lastOffsetDelta: number;
  readonly attributes: number;
}

/** With whatever stands behind its head. */
export function storedAs(content: Buffer, { first, count, lastOffsetDelta, attributes }: Head): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeBigInt64BE(BigInt(first), at.first);
  head.writeInt32BE(head.length - 12 + content.length, at.length);
  head[at.magic] = 2;
  head.writeInt16BE(attributes, at.attributes);
  head.writeInt32BE(lastOffsetDelta, 23);
  head.writeBigInt64BE(100n, 27);
  head.writeBigInt64BE(200n, 35);
  head.writeInt32BE(count, 57);
  return sealed(Buffer.concat([head, content]));
}

/** The batch with the checksum of what it holds now. */
export function sealed(batch: Buffer): Buffer {
  batch.writeUInt32BE(client.crc32c(batch.subarray(at.attributes)), at.checksum);
  return batch;
}
