/**
 * A time within which others wait: when it ends, all of them hear of it. To race with one promise for the whole of it would keep each answer in memory for as long as it lasts.
 */
export class Lifetime {
  readonly #waiting = new Set<(reason: unknown) => void>();
  #ending: { readonly reason: unknown } | undefined;

  get isOver(): boolean {
    return this.#ending !== undefined;
  }

  /** Settles as the work does, or rejects with the reason when this ends before; what becomes of the work then is nobody's any more. */
  during<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#ending === undefined) this.#waiting.add(reject);
      else reject(this.#ending.reason);
      work.then(
        (value) => {
          this.#waiting.delete(reject);
          resolve(value);
        },
        (error) => {
          this.#waiting.delete(reject);
          reject(error);
        },
      );
    });
  }

  /** The first reason counts. */
  end(reason: unknown): void {
    if (this.#ending !== undefined) return;
    this.#ending = { reason };
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const reject of waiting) reject(reason);
  }

  /** How many wait. */
  get size(): number {
    return this.#waiting.size;
  }
}
