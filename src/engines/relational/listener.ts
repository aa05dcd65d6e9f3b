import type { Cancel, World } from "../../world/world.ts";
import { type ConnectionSettings, type Making, openSession } from "./connection.ts";
import { closed, plain } from "./failures.ts";
import type { Session } from "./session.ts";

/** `undefined`: notices may have been missed. */
export type Hear = (payload: string | undefined) => void;

/** Without a channel: notices of any may have been missed. */
export type HearNotice = (channel?: string, payload?: string) => void;

/** What hears on one session, for as long as that lasts. */
export interface Ear {
  listen(channel: string): Promise<unknown>;
  leave(channel: string): Promise<unknown>;
  /** Looks for news, or only whether the session still holds; answers in how many ms to look again. */
  look(): Promise<number>;
}

const backoffMs = { first: 50, longest: 2_000 };

/** One connection, made when somebody first listens, that hears what is told; its listeners are told when they may have missed something. */
export class Listener {
  readonly #settings: ConnectionSettings;
  readonly #world: World;
  readonly #channels = new Map<string, Set<Hear>>();
  readonly #making: Making = new Set();
  #session: Session | undefined;
  #ear: Ear | undefined;
  #opening: Promise<void> | undefined;
  #failures = 0;
  #timer: Cancel | undefined;
  #looking = false;
  #again = false;
  #closed = false;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.#world = settings.world;
  }

  /** Resolves when the channel is listened to; during an outage at once, as the next connection takes up all channels. */
  async listen(channel: string, hear: Hear): Promise<() => Promise<void>> {
    if (this.#closed) throw closed(this.#settings.dialect.server, `listening to ${channel}`);
    let listeners = this.#channels.get(channel);
    const own: Hear = (payload) => hear(payload);
    if (listeners === undefined) {
      listeners = new Set();
      this.#channels.set(channel, listeners);
    }
    listeners.add(own);
    if (this.#session === undefined) {
      if (this.#timer === undefined) this.#opening ??= this.#open();
      await this.#opening;
    } else if (listeners.size === 1) await this.#ear?.listen(channel).catch(() => undefined);
    return () => this.#leave(channel, own);
  }

  async #leave(channel: string, hear: Hear): Promise<void> {
    const listeners = this.#channels.get(channel);
    if (listeners?.delete(hear) !== true || listeners.size > 0) return;
    this.#channels.delete(channel);
    await this.#ear?.leave(channel).catch(() => undefined);
  }

  async #open(): Promise<void> {
    this.#timer = undefined;
    try {
      const session = await openSession(this.#settings, this.#making);
      if (this.#closed) {
        session.destroy();
        return;
      }
      const ear = this.#settings.dialect.ear(session, (channel, payload) => {
        if (this.#session === session) this.#heard(channel, payload);
      });
      session.broken.catch((error) => this.#lost(session, error));
      this.#session = session;
      this.#ear = ear;
      for (const channel of [...this.#channels.keys()]) await ear.listen(channel);
      this.#failures = 0;
      this.#heard();
      this.#look(session, ear);
    } catch (error) {
      this.#lost(this.#session, error);
    } finally {
      this.#opening = undefined;
    }
  }

  #heard(channel?: string, payload?: string): void {
    if (channel !== undefined) for (const hear of this.#channels.get(channel) ?? []) hear(payload ?? "");
    else for (const listeners of this.#channels.values()) for (const hear of listeners) hear(undefined);
  }

  #look(session: Session, ear: Ear): void {
    this.#looking = true;
    this.#again = false;
    ear.look().then(
      (delayMs) => {
        if (this.#session !== session || this.#closed) return;
        this.#looking = false;
        this.#lookIn(this.#again ? 0 : delayMs, session, ear);
      },
      (error) => this.#lost(session, error),
    );
  }

  #lookIn(delayMs: number, session: Session, ear: Ear): void {
    this.#timer?.();
    if (delayMs === 0) this.#look(session, ear);
    else this.#timer = this.#world.timers.schedule(delayMs, () => this.#look(session, ear));
  }

  /** There may be news. */
  lookNow(): void {
    const [session, ear] = [this.#session, this.#ear];
    if (session === undefined || ear === undefined || this.#opening !== undefined || this.#closed) return;
    if (this.#looking) this.#again = true;
    else this.#lookIn(0, session, ear);
  }

  #lost(session: Session | undefined, error: unknown): void {
    if (this.#closed || (session !== undefined && session !== this.#session)) return;
    if (session === undefined && this.#timer !== undefined) return;
    session?.destroy();
    this.#session = undefined;
    this.#ear = undefined;
    this.#looking = false;
    this.#timer?.();
    this.#world.log.log("warn", `the connection that listens to ${this.#settings.dialect.server} was lost`, {
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
