/** Works on each item, some at a time. */
export async function inParallel<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
  countMax = 8,
): Promise<readonly R[]> {
  const answers: R[] = [];
  let next = 0;
  const workers = Array.from({ length: Math.min(countMax, items.length) }, async () => {
    while (next < items.length) {
      const index = next;
      next += 1;
      answers[index] = await work(items[index]!);
    }
  });
  await Promise.all(workers);
  return answers;
}

/** 0 to `count` - 1. */
export function upTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index);
}
