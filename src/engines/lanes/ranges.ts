/** Half-open, ascending, apart. */
export interface Ranges {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/** Positions are sorted by bits as long as there are at most so many bits for each. */
const spreadMax = 64;

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
    let least = Number.POSITIVE_INFINITY;
    let end = 0;
    for (const from of this.#from) least = Math.min(least, from);
    for (const to of this.#to) end = Math.max(end, to);
    const unsorted = { from: this.#from, to: this.#to };
    return end - least <= spreadMax * this.#count ? marked(unsorted, least, end) : sorted(unsorted, this.#count);
  }
}

/** By one bit for every position between the first and the last: cheaper than sorting them. */
function marked(ranges: Ranges, least: number, end: number): Ranges {
  const bits = new Uint32Array(Math.ceil((end - least) / 32));
  eachOf(ranges, (position) => {
    const at = position - least;
    bits[at >>> 5]! |= 1 << (at & 31);
  });
  const gathered = new Gathered();
  for (let word = 0; word < bits.length; word++) {
    // From the lowest bit on: how many are not set, how many are.
    let rest = bits[word]!;
    let at = least + word * 32;
    while (rest !== 0) {
      const gap = trailingZeros(rest);
      at += gap;
      rest >>>= gap;
      const length = trailingZeros(~rest);
      gathered.addRange(at, at + length);
      at += length;
      rest = length === 32 ? 0 : rest >>> length;
    }
  }
  return gathered.ranges();
}

/** 32 when there is none. */
function trailingZeros(word: number): number {
  return word === 0 ? 32 : 31 - Math.clz32(word & -word);
}

function sorted(ranges: Ranges, count: number): Ranges {
  const positions = new Float64Array(count);
  let at = 0;
  eachOf(ranges, (position) => {
    positions[at++] = position;
  });
  const gathered = new Gathered();
  let before = -1;
  for (const position of positions.sort()) {
    if (position !== before) gathered.add(position);
    before = position;
  }
  return gathered.ranges();
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
