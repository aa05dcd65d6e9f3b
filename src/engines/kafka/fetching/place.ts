import { TenonError } from "../../../contracts/errors.ts";
import { plain } from "../failures.ts";

/** A partition, as errors name it: by Kafka's name of the topic. */
export interface Place {
  readonly topic: string;
  readonly partition: number;
}

export function unreadableAt(place: Place, position: number, cause?: unknown): TenonError {
  const text = `what Kafka answered for position ${position} of ${nameOf(place)} is no record of its format 2; the broker lost data, or is another program`;
  return new TenonError("corrupt", text, { fields: { ...place, position }, cause: plain(cause) });
}

export function damagedAt(place: Place, position: number): TenonError {
  const text = `the batch at position ${position} of ${nameOf(place)} is not what was stored: it does not have its checksum (CRC-32C). Look at the disks of its brokers; another copy of the partition may be whole`;
  return new TenonError("corrupt", text, { fields: { ...place, position } });
}

export function unknownCompressionAt(place: Place, position: number, compression: number): TenonError {
  const text = `the batch at position ${position} of ${nameOf(place)} is compressed in a way that the client does not know (${compression})`;
  return new TenonError("unsupported", text, { fields: { ...place, position, compression } });
}

export function tooLargeAt(place: Place, position: number, decompressedBytesMax: number): TenonError {
  const text = `the batch at position ${position} of ${nameOf(place)} is larger than ${decompressedBytesMax} bytes when it is decompressed. If it is meant to be, raise decompressedBytesMax of kafka()`;
  return new TenonError("unsupported", text, { fields: { ...place, position, decompressedBytesMax } });
}

function nameOf({ topic, partition }: Place): string {
  return `${topic}/${partition}`;
}
