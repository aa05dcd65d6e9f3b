/** Crockford's alphabet: digits in ascending ASCII order, so that texts of one width sort as their numbers do. */
const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

const pairs = Array.from({ length: 1_024 }, (_, value) => digits.charAt(value >> 5) + digits.charAt(value & 31));

const values = new Map(Array.from(digits, (digit, value) => [digit, BigInt(value)]));

/** 13 digits of `high × 2^22 + low`, where `high` has up to 41 bits and `low` 22. In numbers, which is faster than in a bigint. */
export function encodeBase32(high: number, low: number): string {
  const top = Math.floor(high / 2 ** 18);
  const middle = (high % 2 ** 18) * 4 + (low >>> 20);
  return (
    pairs[top >>> 20]! +
    pairs[(top >>> 10) & 1_023]! +
    pairs[top & 1_023]! +
    pairs[middle >>> 10]! +
    pairs[middle & 1_023]! +
    pairs[(low >>> 10) & 1_023]! +
    pairs[low & 1_023]!
  ).slice(1);
}

/** `undefined` when the text is not 13 such digits. */
export function decodeBase32(text: string): bigint | undefined {
  if (text.length !== 13) return undefined;
  let value = 0n;
  for (const letter of text) {
    const digit = values.get(letter);
    if (digit === undefined) return undefined;
    value = value * 32n + digit;
  }
  return value;
}
