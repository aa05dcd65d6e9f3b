import { TenonError } from "../contracts/errors.ts";
import type { Cancel, World } from "../world/world.ts";
import { describeError } from "./failures.ts";
import type { Receipt } from "./partition-queue.ts";
import { topicClosed } from "./publish-errors.ts";

/** A message that was published one way and is not known to be stored. */
export interface LostMessage<T> {
  readonly value: T;
  /** Why: a `TenonError`, or what an interceptor threw. When its `outcome` is `"unknown"`, the message may have been stored all the same. */
  readonly error: unknown;
}

export interface OneWayCounts {
  /** Accepted, and neither stored nor lost yet. */
  readonly waiting: number;
  readonly stored: number;
  /** Those that were refused at once, too. */
  readonly lost: number;
}

/** A flood of losses is one line in the log per second. */
const logGapMs = 1_000;

/** Publishes without anybody waiting: what becomes of a message is counted, logged and told to `onLost`. */
export class OneWay<T> {
  readonly #world: World;
  readonly #topic: string;
  readonly #bytesMax: number;
  readonly #onLost: ((lost: LostMessage<T>) => void) | undefined;
  #waiting = 0;
  #waitingBytes = 0;
  #stored = 0;
  #lost = 0;
  #logged = 0;
  #lastError: unknown;
  #nextLog: Cancel | undefined;
  #closed = false;

  constructor(world: World, topic: string, bytesMax: number, onLost: ((lost: LostMessage<T>) => void) | undefined) {
    if (onLost !== undefined && typeof onLost !== "function") {
      throw new TenonError("invalid", `onLost of topic "${topic}" must be a function.`, { fields: { topic } });
    }
    this.#world = world;
    this.#topic = topic;
    this.#bytesMax = bytesMax;
    this.#onLost = onLost;
  }

  get counts(): OneWayCounts {
    return { waiting: this.#waiting, stored: this.#stored, lost: this.#lost };
  }

  /** Whether it was accepted. `send` is called when there is room for it. */
  publish(value: T, sizeBytes: number, send: () => Promise<Receipt>): boolean {
    if (this.#closed) return this.#refuse(value, topicClosed(this.#topic));
    if (this.#waiting > 0 && this.#waitingBytes + sizeBytes > this.#bytesMax) return this.#refuse(value, this.#full());
    this.#waiting += 1;
    this.#waitingBytes += sizeBytes;
    send().then(
      () => {
        this.#settle(sizeBytes);
        this.#stored += 1;
      },
      (error: unknown) => {
        this.#settle(sizeBytes);
        this.#lose(value, error);
      },
    );
    return true;
  }

  /** Accepts no more; what is under way still counts. */
  close(): void {
    this.#closed = true;
  }

  #refuse(value: T, error: TenonError): false {
    this.#lose(value, error);
    return false;
  }

  #settle(sizeBytes: number): void {
    this.#waiting -= 1;
    this.#waitingBytes -= sizeBytes;
  }

  #lose(value: T, error: unknown): void {
    this.#lost += 1;
    this.#lastError = error;
    if (this.#nextLog === undefined) this.#log();
    try {
      this.#onLost?.({ value, error });
    } catch (thrown) {
      const fields = { topic: this.#topic, error: describeError(thrown) };
      this.#world.log.log("error", "onLost threw", fields);
    }
  }

  #log(): void {
    const fields = {
      topic: this.#topic,
      lost: this.#lost - this.#logged,
      lostInAll: this.#lost,
      error: describeError(this.#lastError),
    };
    this.#world.log.log("error", "messages published one way were lost", fields);
    this.#logged = this.#lost;
    this.#nextLog = this.#world.timers.schedule(logGapMs, () => {
      this.#nextLog = undefined;
      if (this.#lost > this.#logged) this.#log();
    });
  }

  #full(): TenonError {
    return new TenonError(
      "overloaded",
      `A message published one way to topic "${this.#topic}" was refused: ${this.#waitingBytes} bytes of such messages wait for the engine already. ` +
        "It was not stored. Publish more slowly, or raise oneWayBytesMax.",
      { fields: { topic: this.#topic, waitingBytes: this.#waitingBytes, oneWayBytesMax: this.#bytesMax } },
    );
  }
}
