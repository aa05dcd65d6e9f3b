import type { BatchCodec } from "../clients.ts";
import type { Place } from "./place.ts";
import { RecordBatch } from "./record-batch.ts";

/** Opens batches in their order, as many as come to no more than `decompressedBytesMax` together. */
export function openBatches(
  batches: readonly Buffer[],
  place: Place,
  codec: BatchCodec,
  decompressedBytesMax: number,
): readonly RecordBatch[] {
  let room = decompressedBytesMax;
  return readable(batches, (bytes) => {
    const batch = RecordBatch.open(bytes, place, codec, room);
    if (batch.isCompressed) room -= batch.records.length;
    return batch;
  });
}

/** What can be made of the first of them. What cannot be read is not gone past: it is met again with the next fetch, and then it is the first, and throws. */
export function readable<From, To>(all: readonly From[], read: (each: From) => To): readonly To[] {
  const made: To[] = [];
  for (const each of all) {
    try {
      made.push(read(each));
    } catch (error) {
      if (made.length === 0) throw error;
      break;
    }
  }
  return made;
}
