const seed = 0x9747b28c;
const multiplier = 0x5bd1e995;

/** murmur2 of the key's UTF-8 bytes, as Kafka's default partitioner computes it; a signed 32-bit integer. */
export function murmur2(key: string): number {
  const length = key.length;
  let hash = seed ^ length;
  let index = 0;
  // Characters are taken as bytes, which is right for ASCII; `seen` tells at the end whether it was.
  let seen = 0;
  for (; index + 4 <= length; index += 4) {
    const first = key.charCodeAt(index);
    const second = key.charCodeAt(index + 1);
    const third = key.charCodeAt(index + 2);
    const fourth = key.charCodeAt(index + 3);
    seen |= first | second | third | fourth;
    hash = mix(hash, first | (second << 8) | (third << 16) | (fourth << 24));
  }
  const rest = length - index;
  const first = rest > 0 ? key.charCodeAt(index) : 0;
  const second = rest > 1 ? key.charCodeAt(index + 1) : 0;
  const third = rest > 2 ? key.charCodeAt(index + 2) : 0;
  if ((seen | first | second | third) > 0x7f) return murmur2OfBytes(Buffer.from(key));
  return finish(hash, rest, first | (second << 8) | (third << 16));
}

export function murmur2OfBytes(bytes: Uint8Array): number {
  const length = bytes.length;
  let hash = seed ^ length;
  let index = 0;
  for (; index + 4 <= length; index += 4) {
    const word = bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24);
    hash = mix(hash, word);
  }
  const rest = length - index;
  const first = rest > 0 ? bytes[index]! : 0;
  const second = rest > 1 ? bytes[index + 1]! : 0;
  const third = rest > 2 ? bytes[index + 2]! : 0;
  return finish(hash, rest, first | (second << 8) | (third << 16));
}

function mix(hash: number, word: number): number {
  let mixed = Math.imul(word, multiplier);
  mixed ^= mixed >>> 24;
  mixed = Math.imul(mixed, multiplier);
  return Math.imul(hash, multiplier) ^ mixed;
}

function finish(hash: number, rest: number, tail: number): number {
  let result = hash;
  if (rest > 0) result = Math.imul(result ^ tail, multiplier);
  result ^= result >>> 13;
  result = Math.imul(result, multiplier);
  return result ^ (result >>> 15);
}

/** The partition of a key: the same as Kafka's clients choose. */
export function partitionOf(key: string, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}
