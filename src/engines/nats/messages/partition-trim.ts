import { Retention } from "../../lanes/retention.ts";
import { ByteReader, ByteWriter } from "../../shared/binary.ts";

const format = 1;

/** What of a partition was given back, and since when the rest is settled by every group. */
export class PartitionTrim {
  /** The position of the oldest message that is kept. */
  first: number;
  readonly retention: Retention;

  constructor(first: number, retention: Retention) {
    this.first = first;
    this.retention = retention;
  }

  encode(): Buffer {
    return new ByteWriter().u8(format).whole(this.first).bytes(this.retention.encode()).done();
  }

  /** No bytes: nothing was trimmed yet. */
  static decode(bytes: Uint8Array | undefined): PartitionTrim {
    if (bytes === undefined) return new PartitionTrim(0, Retention.decode(Buffer.alloc(0)));
    const reader = new ByteReader(bytes, "what is kept of a partition");
    if (reader.u8() !== format) throw reader.corrupt();
    const trim = new PartitionTrim(reader.whole(), Retention.decode(reader.bytes()));
    reader.end();
    return trim;
  }
}
