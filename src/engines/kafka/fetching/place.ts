import { type ErrorCode, type ErrorDetails, TenonError } from "../../../contracts/errors.ts";
import { plain } from "../failures.ts";

/** A partition, as errors name it: by Kafka's name of the topic. */
export interface Place {
  readonly topic: string;
  readonly partition: number;
}

/** What a broker answered cannot be read. Another one may have it whole, and a partition may be led by that one next. */
export class UnreadableBatch extends TenonError {
  readonly position: number;

  constructor(code: ErrorCode, text: string, place: Place, position: number, details: ErrorDetails = {}) {
    super(code, text, { ...details, fields: { ...place, position, ...details.fields } });
    this.position = position;
  }
}

export function unreadableAt(place: Place, position: number, cause?: unknown): UnreadableBatch {
  const text = `what Kafka answered for position ${position} of ${nameOf(place)} is no record of its format 2; the broker lost data, or is another program`;
  return new UnreadableBatch("corrupt", text, place, position, { cause: plain(cause) });
}

export function damagedAt(place: Place, position: number): UnreadableBatch {
  const text = `the batch at position ${position} of ${nameOf(place)} is not what was stored: it does not have its checksum (CRC-32C). Look at the disks of its brokers; another copy of the partition may be whole`;
  return new UnreadableBatch("corrupt", text, place, position);
}

export function unknownCompressionAt(place: Place, position: number, compression: number): UnreadableBatch {
  const text = `the batch at position ${position} of ${nameOf(place)} is compressed in a way that the client does not know (${compression})`;
  return new UnreadableBatch("unsupported", text, place, position, { fields: { compression } });
}

export function tooLargeAt(place: Place, position: number, decompressedBytesMax: number): UnreadableBatch {
  const text = `the batch at position ${position} of ${nameOf(place)} is larger than ${decompressedBytesMax} bytes when it is decompressed. If it is meant to be, raise decompressedBytesMax of kafka()`;
  return new UnreadableBatch("unsupported", text, place, position, { fields: { decompressedBytesMax } });
}

function nameOf({ topic, partition }: Place): string {
  return `${topic}/${partition}`;
}
