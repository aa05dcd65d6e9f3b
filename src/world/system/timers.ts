import type { Cancel, Timers } from "../world.ts";

/** `setTimeout` takes a longer delay for 1 ms. */
const DELAY_MS_MAX = 2 ** 31 - 1;

export class SystemTimers implements Timers {
  sleep(ms: number, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const timer = new SystemTimer(ms, true, () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      });
      const abort = () => {
        timer.cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  schedule(ms: number, fn: () => void, options?: { readonly keepsAlive?: boolean | undefined }): Cancel {
    const timer = new SystemTimer(ms, options?.keepsAlive === true, fn);
    return () => timer.cancel();
  }
}

/**
 * One call at or after a deadline. `setTimeout` counts in whole milliseconds of the loop's own clock and may so be up to 1 ms
 * early by the monotonic one; what is left then is waited for again.
 */
class SystemTimer {
  readonly #deadline: number;
  readonly #fn: () => void;
  readonly #keepsAlive: boolean;
  #timeout: NodeJS.Timeout | undefined;

  constructor(ms: number, keepsAlive: boolean, fn: () => void) {
    this.#deadline = performance.now() + (ms > 0 ? ms : 0);
    this.#fn = fn;
    this.#keepsAlive = keepsAlive;
    this.#arm(ms > 0 ? ms : 0);
  }

  cancel(): void {
    clearTimeout(this.#timeout);
    this.#timeout = undefined;
  }

  #arm(ms: number): void {
    this.#timeout = setTimeout(() => this.#fire(), Math.min(Math.ceil(ms), DELAY_MS_MAX));
    if (!this.#keepsAlive) this.#timeout.unref();
  }

  #fire(): void {
    const leftMs = this.#deadline - performance.now();
    if (leftMs > 0) this.#arm(leftMs);
    else this.#fn();
  }
}
