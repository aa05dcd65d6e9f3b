import type { MessageHeaders } from "../contracts/messages.ts";
import { keepShape } from "../world/kept-shapes.ts";
import type { Delivery } from "./delivery.ts";
import { expiresAtHeader, idHeader, publishedHeaders, tagHeader } from "./headers.ts";

/** What a handler learns of its message beside the value. */
export interface MessageContext {
  readonly key: string | undefined;
  /** The publisher's headers; empty when there are none. */
  readonly headers: MessageHeaders;
  /** The publisher's tag. */
  readonly tag: string | undefined;
  /** The publisher's message id. */
  readonly id: string | undefined;
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  /** With topic and partition it names the message for ever; a redriven message has a new one. */
  readonly position: bigint;
  /** ms since the epoch by the engine's clock. */
  readonly publishedAt: number;
  /** When it stops being worth delivering, ms since the epoch. */
  readonly expiresAt: number | undefined;
  /** 1 + the recorded failures of this message's handler in this group. */
  readonly attempt: number;
  /**
   * Grows with every delivery of the lane, also across restarts: a resource that remembers the greatest one it saw can
   * refuse a handler that was given up but still runs. Fits a signed 64-bit integer.
   */
  readonly fence: bigint;
  /** Aborts when the handler ran longer than `handlerTimeoutMs`, when its lane passed on, and when closing waits no longer. */
  readonly signal: AbortSignal;
}

/** A message in a batch. Its `signal` is its own: it aborts when its partition passes on, while the rest of the batch may go on. */
export interface BatchMessage<T> extends MessageContext {
  readonly value: T;
}

/** What a batch handler learns of the batch. */
export interface BatchContext {
  readonly topic: string;
  readonly group: string;
  /** Aborts when the handler ran longer than `handlerTimeoutMs`, when no message of the batch is ours any more, and when closing waits no longer. */
  readonly signal: AbortSignal;
}

/** Made per delivery; what is rarely asked for is made when it is. */
export class DeliveryContext implements MessageContext {
  readonly #delivery: Delivery;
  readonly #number: number;
  readonly attempt: number;
  /** Made when somebody asks for the signal, or it aborts. */
  #controller: AbortController | undefined = undefined;

  constructor(delivery: Delivery) {
    this.#delivery = delivery;
    this.#number = delivery.number;
    this.attempt = delivery.failures + 1;
  }

  get key(): string | undefined {
    return this.#delivery.stored.key;
  }

  get headers(): MessageHeaders {
    return publishedHeaders(this.#delivery.stored.headers);
  }

  get tag(): string | undefined {
    return this.#delivery.stored.headers?.[tagHeader];
  }

  get id(): string | undefined {
    const { id, headers } = this.#delivery.stored;
    return id ?? headers?.[idHeader];
  }

  get topic(): string {
    return this.#delivery.origin.topic;
  }

  get group(): string {
    return this.#delivery.owner.lane.group;
  }

  get partition(): number {
    return this.#delivery.origin.partition;
  }

  get position(): bigint {
    return this.#delivery.origin.position;
  }

  get publishedAt(): number {
    return this.#delivery.origin.publishedAt;
  }

  get expiresAt(): number | undefined {
    const expiresAt = this.#delivery.stored.headers?.[expiresAtHeader];
    return expiresAt === undefined ? undefined : Number(expiresAt);
  }

  get fence(): bigint {
    return (this.#delivery.owner.lane.fence << 32n) | BigInt(this.#number);
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#controller ??= new AbortController();
    this.#controller.abort(reason);
  }
}

export class DeliveredMessage<T> extends DeliveryContext implements BatchMessage<T> {
  readonly value: T;

  constructor(delivery: Delivery, value: T) {
    super(delivery);
    this.value = value;
  }
}

const noDelivery = { number: 0, failures: 0 } as Delivery;
keepShape(new DeliveryContext(noDelivery));
keepShape(new DeliveredMessage(noDelivery, undefined));

export class DeliveredBatch implements BatchContext {
  readonly topic: string;
  readonly group: string;
  #controller: AbortController | undefined = undefined;

  constructor(topic: string, group: string) {
    this.topic = topic;
    this.group = group;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#controller ??= new AbortController();
    this.#controller.abort(reason);
  }
}
