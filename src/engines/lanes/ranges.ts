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
