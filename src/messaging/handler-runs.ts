import type { Codec } from "../codec/index.ts";
import type { TenonError } from "../contracts/errors.ts";
import type { World } from "../world/world.ts";
import { DeliveryContext, type MessageContext } from "./context.ts";
import { type DeadlineHost, Deadlines, type Timed } from "./deadlines.ts";
import type { Delivery } from "./delivery.ts";
import type { LaneWorker } from "./lane-worker.ts";
import { givenUp, isThenable, type RunHost, type Runs, ranTooLong } from "./runs.ts";

export type Handler<T> = (value: T, context: MessageContext) => void | Promise<void>;

/**
 * Where a handler runs, until its promise settles; then the next one may. So what waits for the promise is made once per handler that runs at the
 * same time, and not per message: 63 instead of 96 ns for an async handler that does nothing.
 */
class Slot implements Timed {
  /** `undefined` when nothing runs here, or what does was given up. */
  delivery: Delivery | undefined = undefined;
  deadline = Number.POSITIVE_INFINITY;
  late = false;
  readonly fulfilled: () => void;
  readonly rejected: (error: unknown) => void;

  constructor(ended: (slot: Slot, error: unknown, failed: boolean) => void) {
    this.fulfilled = () => ended(this, undefined, false);
    this.rejected = (error) => ended(this, error, true);
  }
}

/** Calls a handler with one message at a time. */
export class HandlerRuns<T> implements Runs, DeadlineHost<Slot> {
  readonly world: World;
  readonly handlerTimeoutMs: number;
  readonly abandonAfterMs: number;
  /** Every slot, whether something runs in it or not, but those whose handler was given up: it may never end. */
  readonly running = new Set<Slot>();
  readonly #host: RunHost;
  readonly #codec: Codec<T>;
  readonly #handler: Handler<T>;
  readonly #free: Slot[] = [];
  readonly #deadlines: Deadlines<Slot>;

  constructor(host: RunHost, codec: Codec<T>, handler: Handler<T>) {
    this.#host = host;
    this.#codec = codec;
    this.#handler = handler;
    this.world = host.world;
    this.handlerTimeoutMs = host.handlerTimeoutMs;
    this.abandonAfterMs = host.abandonAfterMs;
    this.#deadlines = new Deadlines(this);
  }

  take(delivery: Delivery): void {
    this.#host.takeSlot();
    delivery.owner.running += 1;
    this.run(delivery);
  }

  run(delivery: Delivery): void {
    delivery.state = "running";
    let value: T;
    try {
      value = this.#codec.decode(delivery.stored.body);
    } catch (error) {
      this.#handlerEnded(delivery);
      this.#host.outcomes.notDecoded(delivery, error);
      return;
    }
    delivery.number = delivery.owner.nextDelivery();
    const context = new DeliveryContext(delivery);
    let result: void | Promise<void>;
    try {
      result = this.#handler(value, context);
    } catch (error) {
      this.#outcome(delivery, error, true);
      return;
    }
    if (isThenable(result)) this.#await(result, delivery, context);
    else this.#outcome(delivery, undefined, false);
  }

  #await(result: PromiseLike<unknown>, delivery: Delivery, context: DeliveryContext): void {
    const slot = this.#free.pop() ?? this.#newSlot();
    slot.delivery = delivery;
    delivery.context = context;
    this.#deadlines.begin(slot);
    const promise = result instanceof Promise ? result : Promise.resolve(result);
    promise.then(slot.fulfilled, slot.rejected);
  }

  #newSlot(): Slot {
    const slot = new Slot(this.#ended);
    this.running.add(slot);
    return slot;
  }

  rest(): boolean {
    return false;
  }

  turnCame(): void {}

  abandonLane(worker: LaneWorker, reason: TenonError): readonly Delivery[] {
    const abandoned: Delivery[] = [];
    for (const { delivery } of this.running) {
      if (delivery?.owner !== worker) continue;
      delivery.context?.abort(reason);
      abandoned.push(delivery);
    }
    return abandoned;
  }

  stop(): void {}

  readonly #ended = (slot: Slot, error: unknown, failed: boolean): void => {
    const { delivery } = slot;
    // A handler that was given up answers after all: its message has been dealt with otherwise.
    if (delivery === undefined) return;
    delivery.context = undefined;
    slot.delivery = undefined;
    this.#deadlines.end(slot);
    this.#free.push(slot);
    this.#outcome(delivery, error, failed);
  };

  #outcome(delivery: Delivery, error: unknown, failed: boolean): void {
    this.#handlerEnded(delivery);
    if (delivery.owner.takesOutcomes) {
      if (failed) this.#host.outcomes.failed(delivery, error);
      else delivery.owner.settle(delivery);
    }
    this.#host.pump();
  }

  #handlerEnded(delivery: Delivery): void {
    delivery.state = "over";
    this.#host.freeSlot(delivery);
    delivery.owner.handlerEnded();
  }

  timedOut({ delivery }: Slot): void {
    delivery?.context?.abort(ranTooLong(place(delivery), this.handlerTimeoutMs));
  }

  /** The handler never ended: its key goes on without it, under a greater fence. */
  abandon(slot: Slot): void {
    const delivery = slot.delivery!;
    delivery.context = undefined;
    slot.delivery = undefined;
    this.running.delete(slot);
    this.#outcome(delivery, givenUp(place(delivery), this.#host), true);
  }
}

function place(delivery: Delivery): string {
  const { topic, partition, position } = delivery.origin;
  return `message ${position} of topic "${topic}", partition ${partition}, group "${delivery.owner.lane.group}"`;
}
