import { gunzipSync, zstdDecompressSync } from "node:zlib";
import type { BatchCodec } from "../clients.ts";
import { lz4Length } from "./lz4-length.ts";
import { type Place, tooLargeAt, unknownCompressionAt, unreadableAt } from "./place.ts";
import { snappyLength } from "./snappy-length.ts";

/** By the bits of a batch's attributes. */
const compressions = { gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;

/** For which batch, and how much it may come to. */
export interface DecompressionLimits {
  readonly place: Place;
  readonly position: number;
  readonly decompressedBytesMax: number;
}

/**
 * What was compressed, where it is no more than it may be: a few hundred bytes can come to gigabytes. Codecs with a limit of their own stop there; of the client's, which have none, the
 * length is read before anything is decompressed.
 */
export function decompress(
  records: Buffer,
  compression: number,
  codec: BatchCodec,
  limits: DecompressionLimits,
): Buffer {
  const { place, position, decompressedBytesMax } = limits;
  // The codecs take no limit of nothing.
  const options = { maxOutputLength: Math.max(1, decompressedBytesMax) };
  const bounded = (length: number) => {
    if (length > decompressedBytesMax) throw new TooLarge();
    return codec.compressionsAlgorithmsByBitmask[compression]!.decompressSync(records);
  };
  try {
    switch (compression) {
      case compressions.gzip:
        return gunzipSync(records, options);
      case compressions.snappy:
        return bounded(snappyLength(records));
      case compressions.lz4:
        return bounded(lz4Length(records));
      case compressions.zstd:
        return zstdDecompressSync(records, options);
    }
  } catch (error) {
    if (isTooLarge(error)) throw tooLargeAt(place, position, decompressedBytesMax);
    throw unreadableAt(place, position, error);
  }
  throw unknownCompressionAt(place, position, compression);
}

class TooLarge extends Error {}

function isTooLarge(error: unknown): boolean {
  return error instanceof TooLarge || (error as { readonly code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
}
