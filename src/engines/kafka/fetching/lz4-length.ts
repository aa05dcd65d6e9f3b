/** Where a frame begins. */
const magic = 0x184d2204;
const magicBytes = 4;
const sizeBytes = 4;
const checksumBytes = 4;
/** Bits of the byte behind the beginning. */
const flag = { dictionary: 1, contentSize: 8, blockChecksum: 16 } as const;
/** In a block's size: that it is not compressed. */
const plain = 0x80000000;
/** Half a byte that says so goes on in the bytes behind it, as does each of those that is 255. */
const goesOn = { half: 15, byte: 255 } as const;
const matchBytesMin = 4;
const distanceBytes = 2;

/**
 * What a frame of LZ4 comes to when it is decompressed: the lengths of the sequences in its blocks, without what they say. A frame need not tell its size, and one that lies about it is
 * decompressed all the same. Throws where it is cut off, or no frame.
 */
export function lz4Length(bytes: Buffer): number {
  if (bytes.readUInt32LE(0) !== magic) throw new Error("no frame of LZ4");
  const flags = bytes.readUInt8(magicBytes);
  const content = (flags & flag.contentSize) === 0 ? 0 : 8;
  const dictionary = (flags & flag.dictionary) === 0 ? 0 : 4;
  // Flags, the blocks' largest size, and the head's checksum are a byte each.
  let at = magicBytes + 3 + content + dictionary;
  let length = 0;
  for (;;) {
    const size = bytes.readUInt32LE(at);
    at += sizeBytes;
    if (size === 0) return length;
    const end = at + (size & ~plain);
    if (end > bytes.length) throw new Error("a block of LZ4 that is cut off");
    length += size >= plain ? end - at : blockLength(bytes, at, end);
    at = end + ((flags & flag.blockChecksum) === 0 ? 0 : checksumBytes);
  }
}

function blockLength(bytes: Buffer, from: number, end: number): number {
  let length = 0;
  for (let at = from; at < end; ) {
    const token = bytes[at++]!;
    let literals = token >>> 4;
    if (literals === goesOn.half) {
      for (let more: number = goesOn.byte; more === goesOn.byte && at < end; literals += more) more = bytes[at++]!;
    }
    at += literals;
    length += literals;
    // The last sequence has literals alone.
    if (at >= end) break;
    at += distanceBytes;
    let match = token & goesOn.half;
    if (match === goesOn.half) {
      for (let more: number = goesOn.byte; more === goesOn.byte && at < end; match += more) more = bytes[at++]!;
    }
    length += match + matchBytesMin;
  }
  return length;
}
