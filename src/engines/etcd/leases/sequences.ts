/** Requests travel on several connections; what one of many asks must not overtake itself. */
export class Sequences {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Whether something of it is under way. */
  isBusy(key: string): boolean {
    return this.#last.has(key);
  }

  /** When all has ended that is under way now. */
  async idle(): Promise<void> {
    await Promise.all(this.#last.values());
  }

  /** Begins at once when nothing is under way, else behind it. */
  async inTurn<T>(key: string, operation: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key);
    const own = before === undefined ? operation() : before.then(operation, operation);
    const settled = own.then(ignore, ignore);
    this.#last.set(key, settled);
    try {
      return await own;
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }
}

function ignore(): void {}
