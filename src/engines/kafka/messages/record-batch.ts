import { TenonError } from "../../../contracts/errors.ts";
import type { Decompressors } from "../clients.ts";
import { plain } from "../failures.ts";
import { attribute } from "../requests.ts";

/** What stands before a batch's records; big endian. */
const headBytes = 61;
const at = {
  first: 0,
  magic: 16,
  attributes: 21,
  lastOffsetDelta: 23,
  firstTimestamp: 27,
  maxTimestamp: 35,
  count: 57,
} as const;
/** The format of batches since Kafka 0.11. */
const magicKnown = 2;

/** Records that were appended together, as bytes. */
export class RecordBatch {
  /** The position of its first record. */
  readonly first: number;
  /** The position behind its last one. */
  readonly end: number;
  readonly count: number;
  readonly attributes: number;
  /** One record after the other, not compressed. */
  readonly records: Buffer;
  readonly view: DataView;
  readonly #firstTimestamp: number;
  readonly #maxTimestamp: number;

  constructor(bytes: Buffer, decompressors: Decompressors) {
    this.first = int64(bytes, at.first);
    if (bytes.length < headBytes || bytes[at.magic] !== magicKnown) throw unreadableAt(this.first);
    this.attributes = bytes.readInt16BE(at.attributes);
    this.end = this.first + bytes.readInt32BE(at.lastOffsetDelta) + 1;
    this.#firstTimestamp = int64(bytes, at.firstTimestamp);
    this.#maxTimestamp = int64(bytes, at.maxTimestamp);
    this.count = bytes.readInt32BE(at.count);
    const records = bytes.subarray(headBytes);
    const compression = this.attributes & attribute.compression;
    this.records = compression === 0 ? records : decompress(records, compression, this.first, decompressors);
    this.view = new DataView(this.records.buffer, this.records.byteOffset, this.records.byteLength);
  }

  /** One without records. */
  static empty(): RecordBatch {
    const head = Buffer.alloc(headBytes);
    head[at.magic] = magicKnown;
    return new RecordBatch(head, {});
  }

  /** A mark of a transaction, which is no message. */
  get isControl(): boolean {
    return (this.attributes & attribute.control) !== 0;
  }

  /** When a record was stored, by what it says of its own time. */
  timestampOf(timestampDelta: number): number {
    const isBatches = (this.attributes & attribute.logAppendTime) !== 0;
    return isBatches ? this.#maxTimestamp : this.#firstTimestamp + timestampDelta;
  }
}

function decompress(records: Buffer, compression: number, position: number, decompressors: Decompressors): Buffer {
  const algorithm = decompressors[compression];
  if (algorithm === undefined) {
    const text = `the batch at position ${position} is compressed in a way that the client does not know (${compression})`;
    throw new TenonError("unsupported", text, { fields: { position, compression } });
  }
  try {
    return algorithm.decompressSync(records);
  } catch (error) {
    throw unreadableAt(position, error);
  }
}

function int64(bytes: Buffer, from: number): number {
  return Number(bytes.readBigInt64BE(from));
}

export function unreadableAt(position: number, cause?: unknown): TenonError {
  const text = `what Kafka answered for position ${position} is no record of its format 2; the broker lost data, or is another program`;
  return new TenonError("corrupt", text, { fields: { position }, cause: plain(cause) });
}
