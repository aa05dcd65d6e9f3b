import { isCode } from "../../contracts/errors.ts";
import type { Cancel, World } from "../../world/world.ts";
import type { RedisClient } from "./clients.ts";
import { Link } from "./link.ts";

type Listener = (payload: Buffer | undefined) => void;

export interface SubscriptionSettings {
  readonly world: World;
  readonly connect: () => RedisClient | Promise<RedisClient>;
  readonly commandTimeoutMs: number;
}

/** One connection, made when it is first needed, that listens to channels; its listeners hear when they may have missed something. */
export class Subscriptions {
  readonly #settings: SubscriptionSettings;
  readonly #channels = new Map<string, Set<Listener>>();
  /** What the present session was asked to listen to. */
  readonly #asked = new Map<string, Promise<unknown>>();
  #link: Link | undefined;
  #ping: Cancel | undefined;

  constructor(settings: SubscriptionSettings) {
    this.#settings = settings;
  }

  async listen(channel: string, listener: Listener): Promise<() => Promise<void>> {
    const link = this.#open();
    let listeners = this.#channels.get(channel);
    if (listeners === undefined) {
      listeners = new Set();
      this.#channels.set(channel, listeners);
    }
    // One function may listen twice.
    const own: Listener = (payload) => listener(payload);
    listeners.add(own);
    // When there is no session, the next one subscribes to all channels and tells their listeners.
    if (link.ready) {
      await this.#subscribe(link, channel).catch((error: unknown) => {
        if (isOutage(error)) return;
        listeners.delete(own);
        throw error;
      });
    }
    return () => this.#leave(link, channel, own);
  }

  #subscribe(link: Link, channel: string): Promise<unknown> {
    let asked = this.#asked.get(channel);
    if (asked === undefined) {
      asked = link.perform("SUBSCRIBE", (session) => session.subscribe(channel));
      this.#asked.set(channel, asked);
      asked.catch(() => {
        if (this.#asked.get(channel) === asked) this.#asked.delete(channel);
      });
    }
    return asked;
  }

  async #leave(link: Link, channel: string, listener: Listener): Promise<void> {
    const listeners = this.#channels.get(channel);
    listeners?.delete(listener);
    if (listeners === undefined || listeners.size > 0) return;
    this.#channels.delete(channel);
    this.#asked.delete(channel);
    // Commands take effect in order, so who listens anew from now on is subscribed after this.
    if (link.ready) await link.perform("UNSUBSCRIBE", (session) => session.unsubscribe(channel)).catch(() => undefined);
  }

  #open(): Link {
    if (this.#link === undefined) {
      this.#link = new Link({
        ...this.#settings,
        ready: () => this.#resubscribe(),
        message: (channel, payload) => this.#tell(channel, payload),
      });
      this.#pingLater(this.#link);
    }
    return this.#link;
  }

  #resubscribe(): void {
    this.#asked.clear();
    for (const channel of this.#channels.keys()) {
      this.#subscribe(this.#link!, channel).then(
        () => this.#tell(channel, undefined),
        (error: unknown) => this.#refused(channel, error),
      );
    }
  }

  /** A lost connection is followed by another one; a refusal stays one, and who listens hears nothing. */
  #refused(channel: string, error: unknown): void {
    if (isOutage(error)) return;
    this.#settings.world.log.log("error", "Redis refuses to let a channel be heard", { channel, error: String(error) });
  }

  #tell(channel: string, payload: Buffer | undefined): void {
    for (const listener of this.#channels.get(channel) ?? []) listener(payload);
  }

  /** A connection that only listens would never notice that the other side is gone. */
  #pingLater(link: Link): void {
    this.#ping = this.#settings.world.timers.schedule(this.#settings.commandTimeoutMs, () => {
      link.command(undefined, ["PING"]).catch(() => undefined);
      this.#pingLater(link);
    });
  }

  async close(): Promise<void> {
    this.#ping?.();
    this.#channels.clear();
    await this.#link?.close();
  }
}

function isOutage(error: unknown): boolean {
  return isCode(error, "unavailable", "closed");
}
