const namesMax = 1_024;

/**
 * Names that somebody had when they were asked for last. To try and take a name is a write for etcd, also when it fails, and to look at it is not; so these are looked at first,
 * and whoever asks again and again costs etcd little.
 */
export class TakenNames {
  /** The oldest comes first, and is forgotten first. */
  readonly #names = new Set<string>();

  has(name: string): boolean {
    return this.#names.has(name);
  }

  add(name: string): void {
    this.#names.add(name);
    if (this.#names.size <= namesMax) return;
    for (const oldest of this.#names) {
      this.#names.delete(oldest);
      return;
    }
  }

  delete(name: string): void {
    this.#names.delete(name);
  }
}
