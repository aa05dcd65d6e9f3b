/** A first-in, first-out queue without `shift()`: both ends cost the same at every length. */
export class Ring<T> {
  #slots: (T | undefined)[] = new Array(64).fill(undefined);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    if (this.#length === this.#slots.length) this.#grow();
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = item;
    this.#length += 1;
  }

  first(): T | undefined {
    return this.#length === 0 ? undefined : this.#slots[this.#head];
  }

  take(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#length -= 1;
    return item;
  }

  /** Removes what `drop` says, keeping the order of the rest. */
  remove(drop: (item: T) => boolean): void {
    for (let left = this.#length; left > 0; left -= 1) {
      const item = this.take() as T;
      if (!drop(item)) this.push(item);
    }
  }

  #grow(): void {
    const slots: (T | undefined)[] = new Array(this.#slots.length * 2).fill(undefined);
    for (let index = 0; index < this.#length; index += 1) {
      slots[index] = this.#slots[(this.#head + index) & (this.#slots.length - 1)];
    }
    this.#slots = slots;
    this.#head = 0;
  }
}
