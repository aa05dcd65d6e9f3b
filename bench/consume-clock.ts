/** A consumer runs for hours: what it handles first, while its code is compiled, is not measured. */
const WARMING_UP = 0.25;

/** How fast a backlog is consumed, from the end of its first quarter on. */
export class ConsumeClock {
  readonly #backlog: number;
  readonly #warm: number;
  readonly #everyHandled = Promise.withResolvers<void>();
  #handled = 0;
  #from = 0;

  constructor(backlog: number) {
    this.#backlog = backlog;
    this.#warm = Math.floor(backlog * WARMING_UP);
  }

  /** Every handler calls it once. */
  handled(): void {
    if (this.#handled++ === this.#warm) this.#from = performance.now();
    if (this.#handled === this.#backlog) this.#everyHandled.resolve();
  }

  /** Resolves when the whole backlog was handled. */
  get everyHandled(): Promise<void> {
    return this.#everyHandled.promise;
  }

  /** Messages per second, when all of them are settled now. */
  perSecond(): number {
    if (this.#handled !== this.#backlog) throw new Error(`handled ${this.#handled} of ${this.#backlog} messages`);
    return ((this.#backlog - this.#warm) / (performance.now() - this.#from)) * 1_000;
  }
}
