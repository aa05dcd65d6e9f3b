import type { MessageHeaders } from "../contracts/messages.ts";
import type { Delivery } from "./delivery.ts";
import { idHeader, publishedHeaders } from "./headers.ts";

/** What a handler learns of its message beside the value. */
export interface MessageContext {
  readonly key: string | undefined;
  /** The publisher's headers; empty when there are none. */
  readonly headers: MessageHeaders;
  /** The publisher's message id. */
  readonly id: string | undefined;
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  /** With topic and partition it names the message for ever; a redriven message has a new one. */
  readonly position: bigint;
  /** ms since the epoch by the engine's clock. */
  readonly publishedAt: number;
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

/** Made per delivery; what is rarely asked for is made when it is. */
export class DeliveryContext implements MessageContext {
  readonly #delivery: Delivery;
  readonly #number: number;
  readonly attempt: number;
  #controller: AbortController | undefined;
  #reason: unknown;
  #aborted = false;

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

  get fence(): bigint {
    return (this.#delivery.owner.lane.fence << 32n) | BigInt(this.#number);
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}
