import type { SimulatedEvent } from "./event-queue.ts";
import type { TimeLine } from "./time-line.ts";

interface PendingCall {
  readonly label: string;
  readonly interrupted: (() => void) | undefined;
  event?: SimulatedEvent | undefined;
}

export interface SimulatedCall<Result> {
  readonly label: string;
  readonly delayMs: number;
  /** Happens when the call's event fires; what it returns or throws settles the call. */
  readonly effect: () => Result;
  /** Called when the process crashes while the call is under way. */
  readonly interrupted?: (() => void) | undefined;
}

/**
 * One incarnation of a simulated process. Once it has crashed nothing reaches it any more: its calls never settle, its timers
 * never fire, and what it still asks for does not happen.
 */
export class SimulatedProcess {
  readonly number: number;
  readonly #timeLine: TimeLine;
  readonly #calls = new Set<PendingCall>();
  #alive = true;
  #abandoned: readonly string[] = [];

  constructor(number: number, timeLine: TimeLine) {
    this.number = number;
    this.#timeLine = timeLine;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** The labels of the calls that were under way when it crashed. */
  get abandoned(): readonly string[] {
    return this.#abandoned;
  }

  call<Result>(call: SimulatedCall<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.after(
        call.delayMs,
        call.label,
        () => {
          try {
            resolve(call.effect());
          } catch (error) {
            reject(error);
          }
        },
        call.interrupted,
      );
    });
  }

  /** Calls `fn` once; the answer withdraws it. */
  after(delayMs: number, label: string, fn: () => void, interrupted?: (() => void) | undefined): () => void {
    if (!this.#alive) return () => {};
    const pending: PendingCall = { label, interrupted };
    const event = this.#timeLine.schedule(delayMs, `${this.number} ${label}`, () => {
      this.#calls.delete(pending);
      fn();
    });
    pending.event = event;
    this.#calls.add(pending);
    return () => {
      this.#timeLine.cancel(event);
      this.#calls.delete(pending);
    };
  }

  /** Ends it. Calls under way are told in the order in which they were made. */
  crash(): void {
    this.#alive = false;
    const calls = [...this.#calls];
    this.#calls.clear();
    this.#abandoned = calls.map((call) => call.label);
    for (const call of calls) {
      if (call.event !== undefined) this.#timeLine.cancel(call.event);
      call.interrupted?.();
    }
  }
}
