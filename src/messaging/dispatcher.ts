import type { Codec } from "../codec/index.ts";
import { TenonError } from "../contracts/errors.ts";
import type { NewMessage } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { DeliveryContext, type MessageContext } from "./context.ts";
import { copyForRetry, DeadLetter, deadLetterOf, reasonOf, undecodableReason } from "./dead-letter.ts";
import type { Delivery } from "./delivery.ts";
import { describeError } from "./failures.ts";
import type { LaneHost, LaneWorker } from "./lane-worker.ts";
import { backoffMs, type RetryPolicy } from "./retry-policy.ts";
import { RetrySchedule } from "./retry-schedule.ts";
import { Ring } from "./ring.ts";
import { Timeouts } from "./timeouts.ts";

export type Handler<T> = (value: T, context: MessageContext) => void | Promise<void>;

export interface DispatcherOptions<T> {
  readonly world: World;
  readonly topic: string;
  readonly group: string;
  readonly codec: Codec<T>;
  readonly handler: Handler<T>;
  readonly concurrency: number;
  readonly prefetch: number;
  readonly handlerTimeoutMs: number;
  readonly abandonAfterMs: number;
  readonly drainTimeoutMs: number;
  readonly retry: RetryPolicy;
  /** Whether the engine can delay messages, so that keyless ones may wait elsewhere. */
  readonly delay: boolean;
  readonly engineClosed: (error: TenonError) => void;
  readonly laneEnded: (worker: LaneWorker) => void;
}

/** A keyless message that waits longer than this waits in the retry topic, where it holds nothing back. */
const retryInLaneMsMax = 60_000;
/** So many recorded deliveries without outcome, and the next one is made alone. */
const deliveriesBeforeAlone = 3;

/** Calls the handler: at most `concurrency` at a time over all lanes of a consumer, and decides what follows from the outcome. */
export class Dispatcher<T> implements LaneHost {
  readonly world: World;
  readonly topic: string;
  readonly group: string;
  readonly prefetch: number;
  readonly retryDelayMsMax: number;
  readonly drainTimeoutMs: number;
  readonly #options: DispatcherOptions<T>;
  readonly #handler: Handler<T>;
  readonly #codec: Codec<T>;
  readonly #ready = new Ring<Delivery>();
  readonly #waitingAlone = new Ring<Delivery>();
  /** Nothing else runs while this one does. */
  #alone: Delivery | undefined;
  #running = 0;
  #pumping = false;
  readonly #timeouts: Timeouts;
  readonly #overdue: Timeouts;
  readonly #retries: RetrySchedule<Delivery>;

  constructor(options: DispatcherOptions<T>) {
    this.#options = options;
    this.world = options.world;
    this.topic = options.topic;
    this.group = options.group;
    this.prefetch = options.prefetch;
    this.retryDelayMsMax = options.retry.delayMsMax;
    this.drainTimeoutMs = options.drainTimeoutMs;
    this.#handler = options.handler;
    this.#codec = options.codec;
    this.#timeouts = new Timeouts(options.world, options.handlerTimeoutMs, (delivery) => this.#timedOut(delivery));
    this.#overdue = new Timeouts(options.world, options.abandonAfterMs, (delivery) => this.#abandon(delivery));
    this.#retries = new RetrySchedule(options.world, (delivery) => this.#retryIsDue(delivery));
  }

  get running(): number {
    return this.#running;
  }

  stop(): void {
    this.#retries.stop();
  }

  // The lanes' side ---------------------------------------------------------------------------------------------------

  ready(delivery: Delivery): void {
    delivery.state = "queued";
    this.#ready.push(delivery);
  }

  recorded(delivery: Delivery): void {
    if (delivery.owner.isActive) {
      this.#run(delivery);
      return;
    }
    delivery.state = "over";
    this.#handlerEnded(delivery);
    delivery.owner.takeBack(delivery);
  }

  retryWhenDue(delivery: Delivery): void {
    if (delivery.owner.isActive) this.#retries.add(delivery);
  }

  engineClosed(error: TenonError): void {
    this.#options.engineClosed(error);
  }

  laneEnded(worker: LaneWorker): void {
    // Deliveries whose record was never confirmed will not be made.
    this.#running -= worker.recording;
    worker.recording = 0;
    if (this.#alone?.owner === worker && this.#alone.state === "recording") this.#alone = undefined;
    this.#options.laneEnded(worker);
    this.pump();
  }

  abandonLane(worker: LaneWorker, reason: TenonError): readonly Delivery[] {
    const abandoned: Delivery[] = [];
    const visit = (delivery: Delivery): void => {
      if (delivery.owner !== worker) return;
      delivery.context?.abort(reason);
      abandoned.push(delivery);
    };
    this.#timeouts.each(visit);
    this.#overdue.each(visit);
    return abandoned;
  }

  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#running < this.#options.concurrency) {
      const delivery = this.#next();
      if (delivery === undefined) break;
      if (!delivery.owner.isActive) continue;
      if (delivery.suspect) this.#startSuspect(delivery);
      else {
        this.#running += 1;
        delivery.owner.running += 1;
        this.#run(delivery);
      }
    }
    this.#pumping = false;
  }

  // Deliveries --------------------------------------------------------------------------------------------------------

  #next(): Delivery | undefined {
    if (this.#alone !== undefined) return undefined;
    if (this.#waitingAlone.length === 0) return this.#ready.take();
    // What runs ends first; nothing new begins before the one that goes alone has been.
    if (this.#running > 0) return undefined;
    const delivery = this.#waitingAlone.take();
    if (delivery?.owner.isActive) this.#alone = delivery;
    return delivery;
  }

  #startSuspect(delivery: Delivery): void {
    if (delivery.recorded > deliveriesBeforeAlone) {
      this.#bury(delivery, `died with its handler ${delivery.recorded} times`);
    } else if (delivery.recorded === deliveriesBeforeAlone && this.#alone !== delivery) {
      this.#waitingAlone.push(delivery);
    } else {
      this.#running += 1;
      delivery.owner.record(delivery);
    }
  }

  /** Makes a delivery; its slot has been taken. */
  #run(delivery: Delivery): void {
    delivery.state = "running";
    let value: T;
    try {
      value = this.#codec.decode(delivery.stored.body);
    } catch (error) {
      this.#handlerEnded(delivery);
      this.#notDecoded(delivery, error);
      return;
    }
    const number = delivery.owner.nextDelivery();
    delivery.number = number;
    const context = new DeliveryContext(delivery);
    delivery.context = context;
    let result: void | Promise<void>;
    try {
      result = this.#handler(value, context);
    } catch (error) {
      this.#outcome(delivery, number, error, true);
      return;
    }
    if (!isThenable(result)) {
      this.#outcome(delivery, number, undefined, false);
      return;
    }
    this.#timeouts.add(delivery);
    const promise = result instanceof Promise ? result : Promise.resolve(result);
    promise.then(
      () => this.#outcome(delivery, number, undefined, false),
      (error: unknown) => this.#outcome(delivery, number, error, true),
    );
  }

  #outcome(delivery: Delivery, number: number, error: unknown, failed: boolean): void {
    // A handler that was given up answers after all: its message has been dealt with otherwise.
    if (delivery.number !== number || delivery.state !== "running") return;
    this.#handlerEnded(delivery);
    if (delivery.owner.takesOutcomes) {
      if (failed) this.#failed(delivery, error);
      else delivery.owner.settle(delivery);
    }
    this.pump();
  }

  #handlerEnded(delivery: Delivery): void {
    delivery.state = "over";
    delivery.timeouts?.remove(delivery);
    delivery.context = undefined;
    this.#running -= 1;
    if (this.#alone === delivery) this.#alone = undefined;
    delivery.owner.handlerEnded();
  }

  #timedOut(delivery: Delivery): void {
    this.#overdue.add(delivery);
    delivery.context?.abort(
      new TenonError(
        "timeout",
        `The handler of ${place(delivery)} ran longer than ${this.#options.handlerTimeoutMs} ms.`,
      ),
    );
  }

  /** The handler never ended: its key goes on without it, under a greater fence. */
  #abandon(delivery: Delivery): void {
    this.#handlerEnded(delivery);
    const { handlerTimeoutMs, abandonAfterMs } = this.#options;
    const error = new TenonError(
      "timeout",
      `The handler of ${place(delivery)} did not end within ${handlerTimeoutMs} ms and was given up ${abandonAfterMs} ms later.`,
    );
    if (delivery.owner.takesOutcomes) this.#failed(delivery, error);
    this.pump();
  }

  // Failures ----------------------------------------------------------------------------------------------------------

  #failed(delivery: Delivery, error: unknown): void {
    const { retry, delay } = this.#options;
    delivery.failures += 1;
    if (error instanceof DeadLetter || delivery.failures > retry.attemptsMax) {
      this.#bury(delivery, reasonOf(error));
      return;
    }
    this.#log("warn", "a handler failed; its message is retried", delivery, error);
    const waitMs = backoffMs(retry, delivery.failures, this.world.random.float());
    const dueAt = this.world.clock.now() + waitMs;
    if (delay && delivery.stored.key === undefined && waitMs > retryInLaneMsMax) {
      delivery.owner.move(delivery, "retry", copyForRetry(delivery, dueAt));
    } else {
      delivery.owner.holdBack(delivery, dueAt);
    }
  }

  #notDecoded(delivery: Delivery, error: unknown): void {
    // A schema that validates asynchronously is a mistake in the program, not in the message.
    if (error instanceof TenonError && error.code === "unsupported") this.#failed(delivery, error);
    else this.#bury(delivery, undecodableReason(this.#codec.contentType, error));
  }

  #bury(delivery: Delivery, reason: string): void {
    this.#log("error", "a message became a dead letter", delivery, undefined, reason);
    const message: NewMessage = deadLetterOf(delivery, reason, this.world.clock.now());
    delivery.owner.move(delivery, "dead", message);
  }

  #retryIsDue(delivery: Delivery): void {
    if (!delivery.owner.isActive) return;
    delivery.owner.countAgain(delivery);
    this.ready(delivery);
    this.pump();
  }

  #log(level: "warn" | "error", message: string, delivery: Delivery, error: unknown, reason?: string): void {
    const { topic, partition, position } = delivery.origin;
    const { failures } = delivery;
    const why = reason ?? describeError(error);
    this.world.log.log(level, message, { topic, group: this.group, partition, position, failures, reason: why });
  }
}

function isThenable(result: unknown): result is Promise<void> {
  return typeof result === "object" && result !== null && typeof (result as { then?: unknown }).then === "function";
}

function place(delivery: Delivery): string {
  const { topic, partition, position } = delivery.origin;
  return `message ${position} of topic "${topic}", partition ${partition}, group "${delivery.owner.lane.group}"`;
}
