const countMax = 64;

/** The same for each of them, so many at a time, answered in their order. */
export async function atOnce<T, R>(all: readonly T[], each: (one: T, index: number) => Promise<R>): Promise<R[]> {
  const answers: R[] = [];
  for (let from = 0; from < all.length; from += countMax) {
    const part = all.slice(from, from + countMax);
    answers.push(...(await Promise.all(part.map((one, index) => each(one, from + index)))));
  }
  return answers;
}
