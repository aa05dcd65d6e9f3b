import type { TenonError } from "../../../contracts/errors.ts";
import type { LeaseDescription } from "../../../contracts/leases.ts";

/** One watcher of a name: a slow reader gets the last state only. */
export class LeaseWatch {
  /** Changes up to this one are in the state that it starts with. */
  readonly #since: number;
  #latest: LeaseDescription | undefined;
  #wake: (() => void) | undefined;
  #error: TenonError | undefined;

  constructor(since: number) {
    this.#since = since;
  }

  /** The state after a change, which is durable. */
  offer(change: number, description: LeaseDescription): void {
    if (change <= this.#since) return;
    this.#latest = description;
    this.#awake();
  }

  fail(error: TenonError): void {
    this.#error = error;
    this.#awake();
  }

  async *states(present: Promise<LeaseDescription>, signal: AbortSignal | undefined): AsyncGenerator<LeaseDescription> {
    const abort = () => this.#awake();
    signal?.addEventListener("abort", abort);
    try {
      const first = await present;
      if (signal?.aborted) return;
      yield first;
      while (!signal?.aborted) {
        const latest = this.#latest;
        this.#latest = undefined;
        if (latest !== undefined) yield latest;
        else if (this.#error !== undefined) throw this.#error;
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  #awake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
