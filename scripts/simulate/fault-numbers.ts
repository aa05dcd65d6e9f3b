/** `3,5-9` to numbers, in order and each once; `undefined` when the text is something else. */
export function numbersFrom(text: string): readonly number[] | undefined {
  const numbers = new Set<number>();
  for (const part of text.split(",")) {
    const range = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(part.trim());
    if (range === null) return undefined;
    const first = Number(range[1]);
    const last = Number(range[2] ?? first);
    if (last < first) return undefined;
    for (let number = first; number <= last; number++) numbers.add(number);
  }
  return [...numbers].sort((one, other) => one - other);
}

/** The shortest text that `numbersFrom` reads as these numbers. */
export function textOf(numbers: readonly number[]): string {
  const sorted = [...new Set(numbers)].sort((one, other) => one - other);
  const parts: string[] = [];
  for (let index = 0; index < sorted.length; ) {
    let last = index;
    while (sorted[last + 1] === sorted[last]! + 1) last += 1;
    // Two neighbours are as short with a comma.
    const together = last - index >= 2;
    parts.push(together ? `${sorted[index]}-${sorted[last]}` : `${sorted[index]}`);
    index = together ? last + 1 : index + 1;
  }
  return parts.join(",");
}
