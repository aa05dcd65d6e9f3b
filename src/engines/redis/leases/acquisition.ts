import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { Lease } from "../../../contracts/leases.ts";
import type { Cancel, World } from "../../../world/world.ts";
import { Alarm } from "./alarm.ts";

/** What the server says to a request. */
export type Answer =
  | { readonly type: "granted"; readonly lease: Lease; readonly isNew: boolean }
  | { readonly type: "refused" }
  | { readonly type: "waiting"; readonly askAgainMs: number };

export interface AcquisitionParts {
  readonly world: World;
  /** Asks once; with `waits` a place in the queue is kept until it is asked again. When `isOver`, nobody wants the answer any more. */
  readonly ask: (request: ValidRequest, waits: boolean, isOver: () => boolean) => Promise<Answer>;
  /** Gives up the place in the queue, or all that the holder has. Never rejects. */
  readonly leave: (what: "place" | "all") => Promise<void>;
  readonly ended: () => void;
}

interface Asker {
  readonly waits: boolean;
  readonly resolve: (lease: Lease | undefined) => void;
  readonly reject: (error: unknown) => void;
  /** Its `waitMs` has passed; it gets what the call that is under way brings. */
  late: boolean;
}

/** A place is asked for again so often, and believed in for three times as long. */
const askAgainMsMax = 1_000;
export const patienceMs = 3 * askAgainMsMax;

/** One holder's way to a name. Calls for the same holder share it, each with its own end of waiting. */
export class Acquisition {
  readonly #parts: AcquisitionParts;
  readonly #alarm: Alarm;
  readonly #askers = new Set<Asker>();
  #asking = false;
  #queued = false;
  #over = false;
  #given = false;
  request: ValidRequest;

  constructor(request: ValidRequest, parts: AcquisitionParts) {
    this.request = request;
    this.#parts = parts;
    this.#alarm = new Alarm(parts.world);
  }

  /** Asks along with whoever asks already. */
  join(request: ValidRequest, signal: AbortSignal | undefined): Promise<Lease | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<Lease | undefined>();
    const asker: Asker = { waits: request.waitMs > 0, resolve, reject, late: false };
    const first = this.#askers.size === 0;
    this.request = request;
    this.#askers.add(asker);
    const ending = this.#endWaiting(asker, request.waitMs, signal);
    if (first) void this.#run();
    else this.#alarm.ring();
    return ending === undefined ? promise : promise.finally(ending);
  }

  /** Somebody said that its turn may have come. */
  wake(): void {
    this.#alarm.ring();
  }

  /** The holder gives everything up; nobody is granted anything. */
  give(): void {
    this.#given = true;
    this.#finish((asker) => asker.resolve(undefined));
  }

  fail(error: unknown): void {
    this.#finish((asker) => asker.reject(error));
  }

  #endWaiting(asker: Asker, waitMs: number, signal: AbortSignal | undefined): (() => void) | undefined {
    let cancel: Cancel | undefined;
    if (asker.waits && waitMs !== Number.POSITIVE_INFINITY) {
      cancel = this.#parts.world.timers.schedule(waitMs, () => {
        asker.late = true;
        if (!this.#asking) this.#depart(asker, () => asker.resolve(undefined));
      });
    }
    if (signal === undefined) return cancel;
    const abort = (): void => this.#depart(asker, () => asker.reject(signal.reason));
    signal.addEventListener("abort", abort);
    return () => {
      cancel?.();
      signal.removeEventListener("abort", abort);
    };
  }

  #depart(asker: Asker, settle: () => void): void {
    if (!this.#askers.delete(asker)) return;
    if (this.#askers.size > 0) {
      settle();
      return;
    }
    this.#over = true;
    this.#alarm.ring();
    this.#parts.ended();
    // What is under way is looked at when it is answered.
    if (this.#queued && !this.#asking) void this.#parts.leave("place");
    settle();
  }

  #finish(settle: (asker: Asker) => void): void {
    if (!this.#over) this.#parts.ended();
    this.#over = true;
    this.#alarm.ring();
    for (const asker of this.#askers) settle(asker);
    this.#askers.clear();
  }

  async #run(): Promise<void> {
    while (!this.#over) {
      const present = [...this.#askers];
      this.#asking = true;
      let answer: Answer;
      try {
        answer = await this.#parts.ask(
          this.request,
          present.some((asker) => asker.waits),
          () => this.#over,
        );
      } catch (error) {
        this.#asking = false;
        this.fail(error);
        return;
      }
      this.#asking = false;
      this.#queued = answer.type === "waiting";
      if (this.#over) {
        this.#giveBack(answer);
        return;
      }
      if (answer.type === "granted") {
        this.#finish((asker) => asker.resolve(answer.lease));
        return;
      }
      for (const asker of present) {
        if (!asker.waits || asker.late) this.#depart(asker, () => asker.resolve(undefined));
      }
      if (answer.type === "waiting" && !this.#over) await this.#alarm.sleep(Math.min(answer.askAgainMs, askAgainMsMax));
    }
  }

  /** Everybody has gone while it was asked. */
  #giveBack(answer: Answer): void {
    // What was asked before is released by whoever gave it up; by now the holder may have asked anew.
    if (this.#given) return;
    if (answer.type === "waiting") void this.#parts.leave("place");
    else if (answer.type === "granted" && answer.isNew) void this.#parts.leave("all");
  }
}
