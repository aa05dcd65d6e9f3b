/** Half-open, ascending, apart. */
export interface Ranges {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/**
 * Positions as they come, which is mostly one after the other: then there are few ranges, and a commit costs next to nothing for each
 * message.
 */
export class Gathered {
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  #count = 0;
  #ascending = true;

  add(position: number): void {
    this.addRange(position, position + 1);
  }

  addRange(from: number, to: number): void {
    const last = this.#to.length - 1;
    this.#count += to - from;
    if (last >= 0) {
      const end = this.#to[last]!;
      if (from === end) {
        this.#to[last] = to;
        return;
      }
      if (from < end) this.#ascending = false;
    }
    this.#from.push(from);
    this.#to.push(to);
  }

  addAll({ from, to }: Ranges): void {
    for (let i = 0; i < from.length; i++) this.addRange(from[i]!, to[i]!);
  }

  ranges(): Ranges {
    return this.#ascending ? { from: this.#from, to: this.#to } : this.#sorted();
  }

  #sorted(): Ranges {
    const positions = new Float64Array(this.#count);
    let count = 0;
    eachOf({ from: this.#from, to: this.#to }, (position) => {
      positions[count++] = position;
    });
    const sorted = new Gathered();
    let before = -1;
    for (const position of positions.sort()) {
      if (position !== before) sorted.add(position);
      before = position;
    }
    return sorted.ranges();
  }
}

/** Visits each position within the ranges, those below `least` left out. */
export function eachOf({ from, to }: Ranges, visit: (position: number) => void, least = 0): void {
  for (let i = 0; i < from.length; i++) {
    for (let position = Math.max(least, from[i]!); position < to[i]!; position++) visit(position);
  }
}

export function rangesOf(positions: Iterable<number>): Ranges {
  const gathered = new Gathered();
  for (const position of positions) gathered.add(position);
  return gathered.ranges();
}
