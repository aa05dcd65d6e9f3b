/** What the packages that write snappy in Java put before chunks of it; the chunks follow behind two versions. */
const chunksBegin = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const chunksHeadBytes = 16;
const lengthBytes = 4;

/** What snappy comes to when it is decompressed: each piece begins with its length, and holds no more. Throws where that is cut off. */
export function snappyLength(bytes: Buffer): number {
  if (!bytes.subarray(0, chunksBegin.length).equals(chunksBegin)) return pieceLength(bytes, 0);
  let length = 0;
  for (let at = chunksHeadBytes; at < bytes.length; ) {
    const chunkBytes = bytes.readUInt32BE(at);
    length += pieceLength(bytes, at + lengthBytes);
    at += lengthBytes + chunkBytes;
  }
  return length;
}

/** Seven bits to a byte, the lowest first, 32 bits at most. */
function pieceLength(bytes: Buffer, from: number): number {
  let length = 0;
  for (let unit = 1, at = from; unit <= 2 ** 28; unit *= 128) {
    const byte = bytes.readUInt8(at++);
    length += (byte & 0x7f) * unit;
    if (byte < 0x80) return length;
  }
  throw new Error("a length of snappy that does not end");
}
