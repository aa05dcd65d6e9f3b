import type { SimulatedProcess } from "../simulated-process.ts";

/**
 * A call of a process that something elsewhere completes: bytes that arrive, room that grows. Until then it is among what the process waits for.
 * It returns as an event of the process, so that a paused one hears later and a dead one never.
 */
export class BlockingCall<Result> {
  readonly promise: Promise<Result>;
  readonly #process: SimulatedProcess;
  readonly #label: string;
  #resolve!: (result: Result) => void;
  #reject!: (error: unknown) => void;
  #withdraw: () => void;
  #due = false;

  constructor(process: SimulatedProcess, label: string) {
    this.#process = process;
    this.#label = label;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#withdraw = process.after(Number.POSITIVE_INFINITY, label, () => {});
  }

  /** Lets it return after so long with what `effect` then answers or throws. Only the first time counts. */
  returns(delayMs: number, effect: () => Result): void {
    if (this.#due) return;
    this.#due = true;
    this.#withdraw();
    this.#withdraw = this.#process.after(delayMs, this.#label, () => {
      try {
        this.#resolve(effect());
      } catch (error) {
        this.#reject(error);
      }
    });
  }

  /** Rejects at once, as the caller itself wants it. */
  abort(reason: unknown): void {
    this.#due = true;
    this.#withdraw();
    this.#reject(reason);
  }
}
