/** Keys up to this many bytes are remembered. */
const bytesMax = 32;
const slotBits = 12;
const slotCount = 2 ** slotBits;
const wordsPerSlot = bytesMax / 4;
const strings: string[] = new Array(slotCount).fill("");
/** In bytes; 0: nothing is remembered. */
const lengths = new Uint8Array(slotCount);
/** The bytes of each as words of four, of which the last ends with the key and so may overlap the one before. */
const words = new Int32Array(slotCount * wordsPerSlot);

/**
 * Keys come again and again. One that was read lately is the same string, which costs no memory and is quickly looked up in a map. `view` is of the same bytes, of which at least
 * four stand before the key. Comparing words takes half of what comparing characters does: 18 instead of 34 ns for 7 bytes.
 */
export function readKey(bytes: Buffer, view: DataView, from: number, to: number): string {
  const length = to - from;
  if (length > bytesMax || length === 0) return bytes.toString("utf8", from, to);
  const lastAt = to - 4;
  let last = view.getInt32(lastAt, true);
  // A key of less than four bytes without what stands before it.
  if (length < 4) last >>= 8 * (4 - length);
  let hash = last;
  for (let at = from; at < lastAt; at += 4) hash = Math.imul(hash, 31) + view.getInt32(at, true);
  const slot = Math.imul(hash + length, 0x9e37_79b1) >>> (32 - slotBits);
  if (isIn(slot, view, from, to, last)) return strings[slot]!;
  // With one place for each, a fifth of a thousand keys would drive each other out.
  const other = slot ^ 1;
  if (isIn(other, view, from, to, last)) return strings[other]!;
  const key = bytes.toString("utf8", from, to);
  if (lengths[slot] !== 0) move(slot, other);
  remember(slot, key, view, from, to, last);
  return key;
}

function isIn(slot: number, view: DataView, from: number, to: number, last: number): boolean {
  if (lengths[slot] !== to - from) return false;
  const lastAt = to - 4;
  let word = slot * wordsPerSlot;
  for (let at = from; at < lastAt; at += 4) if (words[word++] !== view.getInt32(at, true)) return false;
  return words[word] === last;
}

function move(slot: number, other: number): void {
  strings[other] = strings[slot]!;
  lengths[other] = lengths[slot]!;
  words.copyWithin(other * wordsPerSlot, slot * wordsPerSlot, (slot + 1) * wordsPerSlot);
}

function remember(slot: number, key: string, view: DataView, from: number, to: number, last: number): void {
  strings[slot] = key;
  lengths[slot] = to - from;
  let word = slot * wordsPerSlot;
  for (let at = from; at < to - 4; at += 4) words[word++] = view.getInt32(at, true);
  words[word] = last;
}
