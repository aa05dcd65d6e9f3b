/** One position of 64 bits and its halves. Through memory both ways cost less than `BigInt()` and `Number()`: 18 instead of 26 ns, and 4 instead of 19. */
const whole = new BigUint64Array(1);
const halves = new Uint32Array(whole.buffer);
whole[0] = 1n;
const low = halves[0] === 1 ? 0 : 1;
const high = 1 - low;
const highUnit = 2 ** 32;

/** The position, whole and at most 2^53, as the contract speaks of it. */
export function toPosition(position: number): bigint {
  halves[low] = position;
  halves[high] = position / highUnit;
  return whole[0]!;
}

/** Of 64 bits; negative ones come out as greater than any that there is. */
export function fromPosition(position: bigint): number {
  whole[0] = position;
  return halves[high]! * highUnit + halves[low]!;
}
