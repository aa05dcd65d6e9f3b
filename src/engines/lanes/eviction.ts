/** What a partition keeps that not every group has settled. */
export interface KeptMessages {
  readonly partition: number;
  /** The lowest position that the slowest group has not settled. */
  readonly low: number;
  readonly size: number;
}

/** Up to where each partition is settled for every group until `excess` messages are gone: the fullest are brought down to one level. */
export function evictionOf(
  kept: readonly KeptMessages[],
  excess: number,
): readonly { readonly partition: number; readonly below: number }[] {
  const fullest = [...kept].sort((one, other) => other.size - one.size || one.partition - other.partition);
  let count = 0;
  let sum = 0;
  while (count < fullest.length && !(count > 0 && sum - count * fullest[count]!.size >= excess)) {
    sum += fullest[count]!.size;
    count += 1;
  }
  const level = Math.max(0, Math.floor((sum - excess) / count));
  const evicted: { partition: number; below: number }[] = [];
  let left = excess;
  for (const { partition, low, size } of fullest.slice(0, count)) {
    const gone = Math.min(left, size - level);
    if (gone <= 0) continue;
    left -= gone;
    evicted.push({ partition, below: low + gone });
  }
  return evicted;
}
