import type { BatchCodec } from "../clients.ts";
import { attribute } from "../requests.ts";
import { decompress } from "./decompression.ts";
import { damagedAt, type Place, unreadableAt } from "./place.ts";

/** What stands before a batch's records; big endian. */
const headBytes = 61;
const at = {
  first: 0,
  length: 8,
  leaderEpoch: 12,
  magic: 16,
  checksum: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  firstTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  count: 57,
} as const;
/** From where on its length counts. */
const lengthFrom = 12;
/** The format of batches since Kafka 0.11. */
const magicKnown = 2;

/** Records that were appended together, as bytes. */
export class RecordBatch {
  readonly place: Place;
  /** The position of its first record. */
  readonly first: number;
  /** The position behind its last one. */
  readonly end: number;
  readonly count: number;
  readonly attributes: number;
  /** One record after the other, not compressed. */
  readonly records: Buffer;
  readonly view: DataView;
  readonly leaderEpoch: number;
  readonly producerId: bigint;
  readonly firstTimestamp: number;
  readonly maxTimestamp: number;

  /** Refuses what is not as it was stored, and what comes to more than `decompressedBytesMax`, before it is decompressed. */
  static open(bytes: Buffer, place: Place, codec: BatchCodec, decompressedBytesMax: number): RecordBatch {
    const first = int64(bytes, at.first);
    const isWhole = bytes.length >= headBytes && bytes.readInt32BE(at.length) === bytes.length - lengthFrom;
    if (!isWhole || bytes[at.magic] !== magicKnown) throw unreadableAt(place, first);
    // What stands before is the broker's, and may change from one to the next.
    if (codec.crc32c(bytes.subarray(at.attributes)) !== bytes.readUInt32BE(at.checksum)) throw damagedAt(place, first);
    const records = bytes.subarray(headBytes);
    const compression = bytes.readInt16BE(at.attributes) & attribute.compression;
    if (compression === 0) return new RecordBatch(bytes, records, place);
    const limits = { place, position: first, decompressedBytesMax };
    return new RecordBatch(bytes, decompress(records, compression, codec, limits), place);
  }

  private constructor(head: Buffer, records: Buffer, place: Place) {
    this.place = place;
    this.first = int64(head, at.first);
    this.attributes = head.readInt16BE(at.attributes);
    this.end = this.first + head.readInt32BE(at.lastOffsetDelta) + 1;
    this.leaderEpoch = head.readInt32BE(at.leaderEpoch);
    this.producerId = head.readBigInt64BE(at.producerId);
    this.firstTimestamp = int64(head, at.firstTimestamp);
    this.maxTimestamp = int64(head, at.maxTimestamp);
    this.count = head.readInt32BE(at.count);
    this.records = records;
    this.view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  }

  /** One without records. */
  static empty(): RecordBatch {
    return new RecordBatch(Buffer.alloc(headBytes), Buffer.alloc(0), { topic: "", partition: 0 });
  }

  get isCompressed(): boolean {
    return (this.attributes & attribute.compression) !== 0;
  }

  /** A mark of a transaction, which is no message. */
  get isControl(): boolean {
    return (this.attributes & attribute.control) !== 0;
  }

  /** When a record was stored, by what it says of its own time. */
  timestampOf(timestampDelta: number): number {
    const isBatches = (this.attributes & attribute.logAppendTime) !== 0;
    return isBatches ? this.maxTimestamp : this.firstTimestamp + timestampDelta;
  }
}

function int64(bytes: Buffer, from: number): number {
  return Number(bytes.readBigInt64BE(from));
}
