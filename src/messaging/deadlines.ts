import type { Cancel, World } from "../world/world.ts";

/** Something that runs and may take too long. */
export interface Timed {
  /** When that is the case, by the monotonic clock; infinite while nothing runs. */
  deadline: number;
  /** It has been told so already; the next time it is given up. */
  late: boolean;
}

/** What the deadlines need of the handlers' runs. */
export interface DeadlineHost<T extends Timed> {
  readonly world: World;
  readonly handlerTimeoutMs: number;
  /** How long after that. */
  readonly abandonAfterMs: number;
  /** All that may be running. */
  readonly running: Iterable<T>;
  timedOut(item: T): void;
  /** Nobody waits for it any more; its deadline has been taken away. */
  abandon(item: T): void;
}

/** Between two looks at all that runs there is at least a millisecond for so many. */
const looksPerMs = 1_000;

/**
 * Says which handlers run too long. One timer serves all of them, and looks at all of them when the first one's time is over: that is rare, while one begins and one ends
 * with every message, which costs two numbers here.
 */
export class Deadlines<T extends Timed> {
  readonly #host: DeadlineHost<T>;
  #timer: Cancel | undefined;
  /** The first deadline, as far as the timer knows. */
  #first = Number.POSITIVE_INFINITY;
  /** The clock as it was read for the first of those that come together: reading it costs more than the rest. */
  #now: number | undefined;

  constructor(host: DeadlineHost<T>) {
    this.#host = host;
  }

  begin(item: T): void {
    const { world, handlerTimeoutMs } = this.#host;
    if (this.#now === undefined) {
      this.#now = world.clock.monotonic();
      queueMicrotask(this.#forgetNow);
    }
    item.deadline = this.#now + handlerTimeoutMs;
    // The timer may wait for one that is late, and is given up only later than this one's time is over.
    if (item.deadline < this.#first) this.#arm(handlerTimeoutMs, item.deadline);
  }

  end(item: T): void {
    item.deadline = Number.POSITIVE_INFINITY;
    item.late = false;
  }

  readonly #forgetNow = (): void => {
    this.#now = undefined;
  };

  #arm(ms: number, first: number): void {
    this.#timer?.();
    this.#first = first;
    this.#timer = this.#host.world.timers.schedule(ms, this.#fire);
  }

  readonly #fire = (): void => {
    this.#timer = undefined;
    this.#first = Number.POSITIVE_INFINITY;
    const { world, running } = this.#host;
    const now = world.clock.monotonic();
    const over = [...running].filter(({ deadline }) => deadline <= now);
    over.sort((one, other) => one.deadline - other.deadline);
    for (const item of over) this.#expire(item, now);
    this.#armForNext(now);
  };

  #expire(item: T, now: number): void {
    // What came before it may have ended it, or something else may run in its place.
    if (item.deadline > now) return;
    if (item.late) {
      this.end(item);
      this.#host.abandon(item);
    } else {
      item.late = true;
      item.deadline = now + this.#host.abandonAfterMs;
      this.#host.timedOut(item);
    }
  }

  #armForNext(now: number): void {
    let next = Number.POSITIVE_INFINITY;
    let count = 0;
    for (const { deadline } of this.#host.running) {
      count += 1;
      next = Math.min(next, deadline);
    }
    if (next === Number.POSITIVE_INFINITY) return;
    // Expiring may have armed it already, for one that has begun since.
    this.#arm(Math.max(0, next - now, count / looksPerMs), next);
  }
}
