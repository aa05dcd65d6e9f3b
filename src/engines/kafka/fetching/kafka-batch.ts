import type { RecordBatch } from "./record-batch.ts";
import { RecordReader } from "./record-reader.ts";

/** Records that were appended together, as objects: for where there are few of them. */
export interface KafkaBatch {
  readonly firstOffset: bigint;
  readonly partitionLeaderEpoch: number;
  readonly attributes: number;
  readonly lastOffsetDelta: number;
  readonly firstTimestamp: bigint;
  readonly maxTimestamp: bigint;
  readonly producerId: bigint;
  readonly records: readonly KafkaRecord[];
}

export interface KafkaRecord {
  readonly timestampDelta: bigint;
  readonly offsetDelta: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [Buffer | null, Buffer | null])[];
}

export function kafkaBatchOf(batch: RecordBatch): KafkaBatch {
  const reader = new RecordReader(batch, 0, batch.first);
  const records: KafkaRecord[] = [];
  for (let left = batch.count; left > 0; left--) records.push(readRecord(reader));
  return {
    firstOffset: BigInt(batch.first),
    partitionLeaderEpoch: batch.leaderEpoch,
    attributes: batch.attributes,
    lastOffsetDelta: batch.end - batch.first - 1,
    firstTimestamp: BigInt(batch.firstTimestamp),
    maxTimestamp: BigInt(batch.maxTimestamp),
    producerId: batch.producerId,
    records,
  };
}

function readRecord(reader: RecordReader): KafkaRecord {
  const end = reader.endOfRecord();
  reader.passAttributes();
  const timestampDelta = BigInt(reader.whole());
  const offsetDelta = reader.whole();
  const key = reader.bytes(end) ?? null;
  const value = reader.bytes(end) ?? null;
  const headers: [Buffer | null, Buffer | null][] = [];
  for (let left = reader.whole(); left > 0; left--)
    headers.push([reader.bytes(end) ?? null, reader.bytes(end) ?? null]);
  reader.leaveAt(end);
  return { timestampDelta, offsetDelta, key, value, headers };
}
