import type { Outcome } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import { Lifetime } from "../shared/lifetime.ts";
import type { RabbitmqClientChannel, RabbitmqMessage, RabbitmqQueueOptions } from "./clients.ts";
import { failureOf, Gone, overdue } from "./failures.ts";

export interface ChannelSettings {
  readonly world: World;
  readonly commandTimeoutMs: number;
  /** The server did not answer: nothing on this connection can be believed any more. */
  readonly cut: () => void;
}

/**
 * A channel on which each request is answered, fails, or is overdue. What one channel sends takes effect in the order of sending, queue by queue; what it took and did not
 * acknowledge goes back when it ends, however it ends.
 */
export class Channel {
  readonly #channel: RabbitmqClientChannel;
  readonly #settings: ChannelSettings;
  readonly #returned = new Set<string>();
  readonly #life = new Lifetime();
  #isClosing = false;
  #cause: unknown;
  /** Called once, when the channel has ended. */
  onEnd: (() => void) | undefined;

  constructor(channel: RabbitmqClientChannel, settings: ChannelSettings) {
    this.#channel = channel;
    this.#settings = settings;
    channel.on("error", (error) => {
      this.#cause = error;
    });
    channel.on("close", () => this.end(this.#cause));
    channel.on("return", ({ fields }) => this.#returned.add(fields.routingKey));
  }

  get isEnded(): boolean {
    return this.#life.isOver;
  }

  /** Whether something else may be done on it. */
  get isFree(): boolean {
    return !this.isEnded && !this.#isClosing;
  }

  /** The connection is gone, or the server closed the channel. */
  end(cause: unknown): void {
    if (this.isEnded) return;
    this.#life.end(cause ?? new Error("the channel was closed"));
    this.onEnd?.();
  }

  // Requests -----------------------------------------------------------------------------------------------------------

  declareQueue(name: string, options: RabbitmqQueueOptions) {
    return this.#ask(`declaring ${name}`, () => this.#channel.assertQueue(name, options));
  }

  /** Rejects with `Gone` when it is not there, and the channel has ended. */
  checkQueue(name: string) {
    return this.#ask(`looking for ${name}`, () => this.#channel.checkQueue(name), "not-applied");
  }

  deleteQueue(name: string) {
    return this.#ask(`deleting ${name}`, () => this.#channel.deleteQueue(name));
  }

  bind(queue: string, exchange: string, key: string) {
    return this.#ask(`binding ${queue}`, () => this.#channel.bindQueue(queue, exchange, key));
  }

  unbind(queue: string, exchange: string, key: string) {
    return this.#ask(`unbinding ${queue}`, () => this.#channel.unbindQueue(queue, exchange, key));
  }

  declareExchange(name: string, type: "direct" | "fanout") {
    return this.#ask(`declaring ${name}`, () => this.#channel.assertExchange(name, type, { durable: true }));
  }

  deleteExchange(name: string) {
    return this.#ask(`deleting ${name}`, () => this.#channel.deleteExchange(name));
  }

  /** The next message, which is the caller's until it is given back or acknowledged; `undefined` when none is ready. */
  async get(queue: string): Promise<RabbitmqMessage | undefined> {
    const message = await this.#ask(`taking from ${queue}`, () => this.#channel.get(queue), "not-applied");
    return message === false ? undefined : (message as RabbitmqMessage);
  }

  consume(queue: string, take: (message: RabbitmqMessage | null) => void, options: { readonly noAck?: boolean } = {}) {
    return this.#ask(`consuming ${queue}`, () => this.#channel.consume(queue, take, options), "not-applied");
  }

  cancel(consumerTag: string) {
    return this.#ask("cancelling a consumer", () => this.#channel.cancel(consumerTag), "not-applied");
  }

  prefetch(count: number) {
    return this.#ask("setting a prefetch", () => this.#channel.prefetch(count), "not-applied");
  }

  /** Resolves when the server has confirmed the message to be where it belongs. `mandatory`: rejects with `Gone` when that is nowhere. */
  async publish(exchange: string, key: string, content: Buffer, mandatory: boolean): Promise<void> {
    const send = () =>
      new Promise<void>((resolve, reject) => {
        const confirmed = (error: unknown) => (error ? reject(error) : resolve());
        this.#channel.publish(exchange, key, content, { persistent: true, mandatory }, confirmed);
      });
    await this.#ask(`publishing to ${exchange === "" ? key : exchange}`, send);
    if (mandatory && this.#returned.delete(key)) throw new Gone(key);
  }

  /** Nobody hears whether it arrives. */
  publishQuietly(exchange: string, key: string, content: Buffer, persistent = true): void {
    if (this.isEnded) return;
    quietly(() => this.#channel.publish(exchange, key, content, { persistent }, () => undefined));
  }

  ack(message: RabbitmqMessage): void {
    if (!this.isEnded) quietly(() => this.#channel.ack(message));
  }

  giveBack(message: RabbitmqMessage): void {
    if (!this.isEnded) quietly(() => this.#channel.nack(message, false, true));
  }

  /** What it took and did not acknowledge goes back, in its order. */
  async close(): Promise<void> {
    if (!this.isFree) return;
    this.#isClosing = true;
    try {
      await this.#ask("closing a channel", () => this.#channel.close(), "not-applied");
    } catch {
      // It has ended all the same, or its connection is cut.
    }
    this.end(undefined);
  }

  async #ask<T>(what: string, send: () => Promise<T>, outcome: Outcome = "unknown"): Promise<T> {
    if (this.isEnded) throw failureOf(this.#cause, what, "not-applied");
    const { world, commandTimeoutMs, cut } = this.#settings;
    const timeout = Promise.withResolvers<never>();
    const cancel = world.timers.schedule(commandTimeoutMs, () => {
      timeout.reject(overdue(what, commandTimeoutMs, outcome));
      cut();
    });
    timeout.promise.catch(() => undefined);
    try {
      return await this.#life.during(Promise.race([send(), timeout.promise]));
    } catch (error) {
      // The client knows better why a channel ended than that it did.
      throw failureOf(this.#cause ?? error, what, outcome);
    } finally {
      cancel();
    }
  }
}

/** The client throws when the channel has ended and it has not said so yet; then the server undoes the rest. */
function quietly(send: () => unknown): void {
  try {
    send();
  } catch {
    // As said above.
  }
}
