import type { TenonError } from "../contracts/errors.ts";
import type { Lane } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import type { Delivery } from "./delivery.ts";
import { isExpired } from "./expiry.ts";
import type { HeaderPredicate } from "./filter.ts";
import type { LaneHost, LaneWorker } from "./lane-worker.ts";
import type { LaneLosses } from "./loss-detector.ts";
import { type GivenUpHandler, Outcomes, type WhenExpired } from "./outcomes.ts";
import type { RetryPolicy } from "./retry-policy.ts";
import { RetrySchedule } from "./retry-schedule.ts";
import { Ring } from "./ring.ts";
import type { RunHost, Runs } from "./runs.ts";

export interface DispatcherOptions {
  readonly world: World;
  readonly topic: string;
  readonly group: string;
  readonly contentType: string;
  /** How the handler is called. */
  readonly runs: (host: RunHost) => Runs;
  readonly concurrency: number;
  readonly prefetch: number;
  readonly prefetchBytes: number;
  readonly prefetchMin: number;
  readonly heldMax: number;
  readonly handlerTimeoutMs: number;
  readonly abandonAfterMs: number;
  readonly drainTimeoutMs: number;
  readonly retry: RetryPolicy;
  /** Whether keyless messages may wait elsewhere, which needs an engine that can delay messages. */
  readonly delay: boolean;
  /** What becomes of messages that expired before they were delivered. */
  readonly whenExpired: WhenExpired;
  /** Instead of the dead letters, where the group has none. */
  readonly givenUp: GivenUpHandler | undefined;
  readonly engineClosed: (error: TenonError) => void;
  readonly laneEnded: (worker: LaneWorker) => void;
  readonly passes: HeaderPredicate | undefined;
  readonly losses: (lane: Lane) => LaneLosses | undefined;
}

/** So many recorded deliveries without outcome, and the next one is made alone. */
const deliveriesBeforeAlone = 3;

/** Hands what is ready to the handler's runs: at most `concurrency` at a time over all lanes of a consumer. */
export class Dispatcher implements LaneHost, RunHost {
  readonly world: World;
  readonly topic: string;
  readonly group: string;
  readonly prefetch: number;
  readonly prefetchBytes: number;
  readonly prefetchMin: number;
  readonly heldMax: number;
  readonly retryDelayMsMax: number;
  readonly drainTimeoutMs: number;
  readonly handlerTimeoutMs: number;
  readonly abandonAfterMs: number;
  readonly passes: HeaderPredicate | undefined;
  readonly outcomes: Outcomes;
  readonly #options: DispatcherOptions;
  readonly #runs: Runs;
  readonly #ready = new Ring<Delivery>();
  readonly #waitingAlone = new Ring<Delivery>();
  /** Nothing else runs while this one does. */
  #alone: Delivery | undefined;
  #running = 0;
  #pumping = false;
  readonly #retries: RetrySchedule<Delivery>;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.world = options.world;
    this.topic = options.topic;
    this.group = options.group;
    this.prefetch = options.prefetch;
    this.prefetchBytes = options.prefetchBytes;
    this.prefetchMin = options.prefetchMin;
    this.heldMax = options.heldMax;
    this.retryDelayMsMax = options.retry.delayMsMax;
    this.drainTimeoutMs = options.drainTimeoutMs;
    this.handlerTimeoutMs = options.handlerTimeoutMs;
    this.abandonAfterMs = options.abandonAfterMs;
    this.passes = options.passes;
    this.outcomes = new Outcomes(options);
    this.#runs = options.runs(this);
    this.#retries = new RetrySchedule(options.world, (delivery) => this.#retryIsDue(delivery));
  }

  stop(): void {
    this.#retries.stop();
    this.#runs.stop();
  }

  // The lanes' side ---------------------------------------------------------------------------------------------------

  ready(delivery: Delivery): void {
    delivery.state = "queued";
    this.#ready.push(delivery);
  }

  recorded(delivery: Delivery): void {
    const { owner } = delivery;
    if (owner.isActive && !owner.isPaused) {
      if (isExpired(delivery)) this.#endUnmade(delivery);
      else this.#runs.run(delivery);
      return;
    }
    delivery.state = "returning";
    this.freeSlot(delivery);
    owner.handlerEnded();
    owner.takeBack(delivery);
  }

  /** It expired while its delivery was recorded. */
  #endUnmade(delivery: Delivery): void {
    this.freeSlot(delivery);
    delivery.owner.handlerEnded();
    this.outcomes.expired(delivery);
  }

  turnCame(delivery: Delivery): void {
    this.#runs.turnCame(delivery);
  }

  retryWhenDue(delivery: Delivery): void {
    if (delivery.owner.isActive) this.#retries.add(delivery);
  }

  engineClosed(error: TenonError): void {
    this.#options.engineClosed(error);
  }

  losses(lane: Lane): LaneLosses | undefined {
    return this.#options.losses(lane);
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
    return this.#runs.abandonLane(worker, reason);
  }

  // The handler's side ------------------------------------------------------------------------------------------------

  get mayStart(): boolean {
    return this.#running < this.#options.concurrency && this.#alone === undefined && this.#waitingAlone.length === 0;
  }

  takeSlot(): void {
    this.#running += 1;
  }

  freeSlot(delivery: Delivery): void {
    this.#running -= 1;
    if (this.#alone === delivery) this.#alone = undefined;
  }

  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    do {
      while (this.#running < this.#options.concurrency) {
        const delivery = this.#next();
        if (delivery === undefined) break;
        if (delivery.owner.isActive) this.#begin(delivery);
      }
    } while (this.#runs.rest());
    this.#pumping = false;
  }

  #next(): Delivery | undefined {
    if (this.#alone !== undefined) return undefined;
    if (this.#waitingAlone.length === 0) return this.#ready.take();
    // What runs ends first; nothing new begins before the one that goes alone has been.
    if (this.#running > 0) return undefined;
    const delivery = this.#waitingAlone.take();
    if (delivery?.owner.isActive && !delivery.owner.isPaused) this.#alone = delivery;
    return delivery;
  }

  #begin(delivery: Delivery): void {
    if (delivery.owner.isPaused) delivery.owner.park(delivery);
    else if (isExpired(delivery)) {
      if (this.#alone === delivery) this.#alone = undefined;
      this.outcomes.expired(delivery);
    } else if (delivery.suspect) this.#startSuspect(delivery);
    else this.#runs.take(delivery);
  }

  #startSuspect(delivery: Delivery): void {
    if (delivery.recorded > deliveriesBeforeAlone) {
      this.outcomes.bury(delivery, `died with its handler ${delivery.recorded} times`);
    } else if (delivery.recorded === deliveriesBeforeAlone && this.#alone !== delivery) {
      this.#waitingAlone.push(delivery);
    } else {
      this.#running += 1;
      delivery.owner.record(delivery);
    }
  }

  #retryIsDue(delivery: Delivery): void {
    if (!delivery.owner.isActive) return;
    delivery.owner.countAgain(delivery);
    this.ready(delivery);
    this.pump();
  }
}
