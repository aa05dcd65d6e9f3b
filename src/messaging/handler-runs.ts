import type { Codec } from "../codec/index.ts";
import type { TenonError } from "../contracts/errors.ts";
import { DeliveryContext, type MessageContext } from "./context.ts";
import type { Delivery } from "./delivery.ts";
import type { LaneWorker } from "./lane-worker.ts";
import { givenUp, isThenable, type RunHost, type Runs, ranTooLong } from "./runs.ts";
import { Timeouts } from "./timeouts.ts";

export type Handler<T> = (value: T, context: MessageContext) => void | Promise<void>;

/** Calls a handler with one message at a time. */
export class HandlerRuns<T> implements Runs {
  readonly #host: RunHost;
  readonly #codec: Codec<T>;
  readonly #handler: Handler<T>;
  readonly #timeouts: Timeouts<Delivery>;
  readonly #overdue: Timeouts<Delivery>;

  constructor(host: RunHost, codec: Codec<T>, handler: Handler<T>) {
    this.#host = host;
    this.#codec = codec;
    this.#handler = handler;
    this.#timeouts = new Timeouts(host.world, host.handlerTimeoutMs, (delivery) => this.#timedOut(delivery));
    this.#overdue = new Timeouts(host.world, host.abandonAfterMs, (delivery) => this.#abandon(delivery));
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

  rest(): boolean {
    return false;
  }

  turnCame(): void {}

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

  stop(): void {}

  #outcome(delivery: Delivery, number: number, error: unknown, failed: boolean): void {
    // A handler that was given up answers after all: its message has been dealt with otherwise.
    if (delivery.number !== number || delivery.state !== "running") return;
    this.#handlerEnded(delivery);
    if (delivery.owner.takesOutcomes) {
      if (failed) this.#host.outcomes.failed(delivery, error);
      else delivery.owner.settle(delivery);
    }
    this.#host.pump();
  }

  #handlerEnded(delivery: Delivery): void {
    delivery.state = "over";
    delivery.timeouts?.remove(delivery);
    delivery.context = undefined;
    this.#host.freeSlot(delivery);
    delivery.owner.handlerEnded();
  }

  #timedOut(delivery: Delivery): void {
    this.#overdue.add(delivery);
    delivery.context?.abort(ranTooLong(place(delivery), this.#host.handlerTimeoutMs));
  }

  /** The handler never ended: its key goes on without it, under a greater fence. */
  #abandon(delivery: Delivery): void {
    this.#handlerEnded(delivery);
    const error = givenUp(place(delivery), this.#host);
    if (delivery.owner.takesOutcomes) this.#host.outcomes.failed(delivery, error);
    this.#host.pump();
  }
}

function place(delivery: Delivery): string {
  const { topic, partition, position } = delivery.origin;
  return `message ${position} of topic "${topic}", partition ${partition}, group "${delivery.owner.lane.group}"`;
}
