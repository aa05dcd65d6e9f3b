import type { Timers } from "../world/index.ts";

export interface DeadlineOptions {
  /** Ends the wait with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** `false` where a request is under way, which keeps the process alive itself; `true` when left out. */
  readonly keepsAlive?: boolean | undefined;
}

/**
 * Ends a wait: when the caller's signal aborts, with its reason, or when the time has passed, with `late()`. The timer and the
 * caller's signal are let go by `Symbol.dispose`.
 */
export class Deadline implements Disposable {
  readonly #stop: () => void;
  readonly #deafen: (() => void) | undefined;
  /** Those who race against it: nearly always one, for whom a set would cost more than the race. */
  #racing: ((reason: unknown) => void) | Set<(reason: unknown) => void> | undefined;
  /** Made when somebody asks for it. */
  #controller: AbortController | undefined;
  #ended: { readonly reason: unknown } | undefined;

  /** `afterMs` may be infinite. Throws the signal's reason when it has aborted already. */
  constructor(timers: Pick<Timers, "schedule">, afterMs: number, late: () => Error, options: DeadlineOptions = {}) {
    const { signal, keepsAlive = true } = options;
    signal?.throwIfAborted();
    if (signal !== undefined) {
      const abort = (): void => this.#end(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      this.#deafen = () => signal.removeEventListener("abort", abort);
    }
    if (afterMs === Number.POSITIVE_INFINITY) this.#stop = () => {};
    else this.#stop = timers.schedule(afterMs, () => this.#end(late()), { keepsAlive });
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#ended !== undefined) this.#controller.abort(this.#ended.reason);
    return this.#controller.signal;
  }

  throwIfEnded(): void {
    if (this.#ended !== undefined) throw this.#ended.reason;
  }

  /** The promise's outcome, or the reason for which the wait has ended; what comes after that is heard by nobody. */
  race<Result>(promise: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) reject(this.#ended.reason);
      this.#enter(reject);
      promise.then(
        (result) => {
          this.#leave(reject);
          resolve(result);
        },
        (error: unknown) => {
          this.#leave(reject);
          reject(error);
        },
      );
    });
  }

  #enter(reject: (reason: unknown) => void): void {
    if (this.#racing === undefined) this.#racing = reject;
    else if (typeof this.#racing === "function") this.#racing = new Set([this.#racing, reject]);
    else this.#racing.add(reject);
  }

  #leave(reject: (reason: unknown) => void): void {
    if (this.#racing === reject) this.#racing = undefined;
    else if (typeof this.#racing === "object") this.#racing.delete(reject);
  }

  [Symbol.dispose](): void {
    this.#stop();
    this.#deafen?.();
  }

  #end(reason: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = { reason };
    this.#controller?.abort(reason);
    if (typeof this.#racing === "function") this.#racing(reason);
    else for (const reject of this.#racing ?? []) reject(reason);
  }
}
