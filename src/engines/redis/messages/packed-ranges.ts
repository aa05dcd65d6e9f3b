import type { Ranges } from "../../lanes/ranges.ts";

/** The ranges as `commit.part.lua` reads them: pairs of u32, the distance from the first one's begin and the length. */
export function packRanges({ from, to }: Ranges): Buffer {
  const packed = Buffer.allocUnsafe(8 * from.length);
  for (let i = 0; i < from.length; i++) {
    packed.writeUInt32LE(from[i]! - from[0]!, 8 * i);
    packed.writeUInt32LE(to[i]! - from[i]!, 8 * i + 4);
  }
  return packed;
}
