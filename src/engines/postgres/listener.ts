import type { Cancel, World } from "../../world/world.ts";
import { type ConnectionSettings, type Making, openSession } from "./connection.ts";
import { closed, plain } from "./server-failures.ts";
import type { Session } from "./session.ts";

/** `undefined`: notices may have been missed. */
type Hear = (payload: string | undefined) => void;

const backoffMs = { first: 50, longest: 2_000 };
/** A connection that breaks in silence is found out so soon. */
const pingMs = 10_000;

/** One connection, made when somebody first listens, that hears what is notified; its listeners are told when they may have missed something. */
export class Listener {
  readonly #settings: ConnectionSettings;
  readonly #world: World;
  readonly #channels = new Map<string, Set<Hear>>();
  readonly #making: Making = new Set();
  #session: Session | undefined;
  #opening: Promise<void> | undefined;
  #failures = 0;
  #timer: Cancel | undefined;
  #closed = false;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.#world = settings.world;
  }

  /** Resolves when the channel is listened to; during an outage at once, as the next connection takes up all channels. */
  async listen(channel: string, hear: Hear): Promise<() => Promise<void>> {
    if (this.#closed) throw closed(`listening to ${channel}`);
    let listeners = this.#channels.get(channel);
    const own: Hear = (payload) => hear(payload);
    if (listeners === undefined) {
      listeners = new Set();
      this.#channels.set(channel, listeners);
    }
    listeners.add(own);
    const session = this.#session;
    if (session === undefined) {
      if (this.#timer === undefined) this.#opening ??= this.#open();
      await this.#opening;
    } else if (listeners.size === 1) await session.simple(`LISTEN "${channel}"`).catch(() => undefined);
    return () => this.#leave(channel, own);
  }

  async #leave(channel: string, hear: Hear): Promise<void> {
    const listeners = this.#channels.get(channel);
    if (listeners?.delete(hear) !== true || listeners.size > 0) return;
    this.#channels.delete(channel);
    await this.#session?.simple(`UNLISTEN "${channel}"`).catch(() => undefined);
  }

  async #open(): Promise<void> {
    this.#timer = undefined;
    try {
      const session = await openSession(this.#settings, this.#making);
      if (this.#closed) {
        session.destroy();
        return;
      }
      session.client.on("notification", ({ channel, payload }) => {
        if (this.#session === session) for (const hear of this.#channels.get(channel) ?? []) hear(payload ?? "");
      });
      session.broken.catch((error) => this.#lost(session, error));
      this.#session = session;
      const channels = [...this.#channels.keys()];
      for (const channel of channels) await session.simple(`LISTEN "${channel}"`);
      this.#failures = 0;
      for (const listeners of this.#channels.values()) for (const hear of listeners) hear(undefined);
      this.#ping(session);
    } catch (error) {
      this.#lost(this.#session, error);
    } finally {
      this.#opening = undefined;
    }
  }

  #ping(session: Session): void {
    this.#timer = this.#world.timers.schedule(pingMs, () => {
      session.simple("SELECT 1").then(
        () => this.#session === session && !this.#closed && this.#ping(session),
        (error) => this.#lost(session, error),
      );
    });
  }

  #lost(session: Session | undefined, error: unknown): void {
    if (this.#closed || (session !== undefined && session !== this.#session)) return;
    if (session === undefined && this.#timer !== undefined) return;
    session?.destroy();
    this.#session = undefined;
    this.#timer?.();
    this.#world.log.log("warn", "the connection that listens to PostgreSQL was lost", {
      error: plain(error)?.message ?? "",
    });
    const delayMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(10, this.#failures++));
    this.#timer = this.#world.timers.schedule(delayMs * (0.5 + this.#world.random.float() / 2), () => {
      this.#opening = this.#open();
    });
  }

  close(): void {
    this.#closed = true;
    this.#timer?.();
    for (const session of this.#making) session.destroy();
    this.#session?.destroy();
    this.#session = undefined;
    this.#channels.clear();
  }
}
