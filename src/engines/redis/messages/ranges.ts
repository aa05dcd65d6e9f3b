/** Positions, ascending or not, with repetitions or not, as ranges; half-open, ascending, apart. */
export function rangesOf(positions: number[]): { readonly from: number[]; readonly to: number[] } {
  const from: number[] = [];
  const to: number[] = [];
  let ascending = true;
  for (let i = 1; i < positions.length && ascending; i++) ascending = positions[i]! > positions[i - 1]!;
  const sorted = ascending ? positions : Float64Array.from(positions).sort();
  for (let i = 0; i < sorted.length; i++) {
    const position = sorted[i]!;
    const last = to.length - 1;
    if (last >= 0 && position <= to[last]!) to[last] = Math.max(to[last]!, position + 1);
    else {
      from.push(position);
      to.push(position + 1);
    }
  }
  return { from, to };
}

/** The ranges as `commit.part.lua` reads them: pairs of u32, the distance from the first one's begin and the length. */
export function packRanges({ from, to }: { readonly from: readonly number[]; readonly to: readonly number[] }): Buffer {
  const packed = Buffer.allocUnsafe(8 * from.length);
  for (let i = 0; i < from.length; i++) {
    packed.writeUInt32LE(from[i]! - from[0]!, 8 * i);
    packed.writeUInt32LE(to[i]! - from[i]!, 8 * i + 4);
  }
  return packed;
}
