const blockMax = 512;

/** A sorted set of strings, kept in blocks so that adding a key moves few others. Order: by UTF-16 code unit. */
export class SortedKeys {
  #blocks: string[][] = [];

  add(key: string): void {
    if (this.#blocks.length === 0) {
      this.#blocks.push([key]);
      return;
    }
    const index = Math.min(this.#blockOf(key), this.#blocks.length - 1);
    const block = this.#blocks[index]!;
    const at = lowerBound(block, key);
    if (block[at] === key) return;
    block.splice(at, 0, key);
    if (block.length > blockMax) this.#blocks.splice(index + 1, 0, block.splice(blockMax >>> 1));
  }

  delete(key: string): void {
    const index = this.#blockOf(key);
    const block = this.#blocks[index];
    if (block === undefined) return;
    const at = lowerBound(block, key);
    if (block[at] !== key) return;
    block.splice(at, 1);
    if (block.length === 0) this.#blocks.splice(index, 1);
  }

  /** The keys ≥ `from`, ascending. The set must not change while it is iterated. */
  *from(from: string): Generator<string> {
    let index = this.#blockOf(from);
    if (index === this.#blocks.length) return;
    let at = lowerBound(this.#blocks[index]!, from);
    for (; index < this.#blocks.length; index++, at = 0) {
      const block = this.#blocks[index]!;
      for (; at < block.length; at++) yield block[at]!;
    }
  }

  /** The first block whose last key is ≥ `key`. */
  #blockOf(key: string): number {
    let from = 0;
    let to = this.#blocks.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#blocks[middle]!.at(-1)! < key) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}

function lowerBound(keys: readonly string[], key: string): number {
  let from = 0;
  let to = keys.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (keys[middle]! < key) from = middle + 1;
    else to = middle;
  }
  return from;
}
