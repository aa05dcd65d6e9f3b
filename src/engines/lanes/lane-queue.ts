import { TenonError } from "../../contracts/errors.ts";
import type { Lane } from "../../contracts/messages.ts";

/** A lane that may have ended before anybody asked for it. */
export interface EndingLane extends Lane {
  /** Released or lost. */
  readonly ended: boolean;
}

/** Lanes that were granted and not yet asked for, and who waits for one. */
export class LaneQueue {
  readonly #granted: EndingLane[] = [];
  #waiting: { readonly resolve: (lane: Lane) => void; readonly reject: (reason: unknown) => void } | undefined;
  #closed: TenonError | undefined;

  push(lane: EndingLane): void {
    if (this.#waiting !== undefined) this.#waiting.resolve(lane);
    else this.#granted.push(lane);
  }

  /** From now on there is nothing, for this reason. */
  close(reason: TenonError): void {
    this.#closed ??= reason;
    this.#waiting?.reject(this.#closed);
  }

  next(signal: AbortSignal | undefined): Promise<Lane> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    for (let lane = this.#granted.shift(); lane !== undefined; lane = this.#granted.shift()) {
      if (!lane.ended) return Promise.resolve(lane);
    }
    if (this.#waiting !== undefined) {
      return Promise.reject(new TenonError("conflict", "a call of nextLane is waiting already; wait for it first"));
    }
    return this.#wait(signal);
  }

  #wait(signal: AbortSignal | undefined): Promise<Lane> {
    return new Promise((resolve, reject) => {
      const done = () => {
        this.#waiting = undefined;
        signal?.removeEventListener("abort", abort);
      };
      const abort = () => {
        done();
        reject(signal!.reason);
      };
      this.#waiting = {
        resolve: (lane) => {
          done();
          resolve(lane);
        },
        reject: (reason) => {
          done();
          reject(reason);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
  }
}
