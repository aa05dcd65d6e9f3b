import { TenonError } from "../../contracts/errors.ts";
import type { Cancel, World } from "../../world/world.ts";
import type { NatsConnection, NatsHeaders, NatsMessage, NatsServerInfo } from "./clients.ts";
import { closed, denied, isDenied, isNoResponder, lost, plain, unreachable } from "./failures.ts";

export interface LinkSettings {
  readonly world: World;
  readonly connect: () => Promise<NatsConnection>;
  readonly headers: () => NatsHeaders;
  /** How long an operation waits for a connection, and then for its answer. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** `undefined`: notices may have been missed. */
export type Hear = (payload: string | undefined) => void;

/** One connection, from its making to its loss. */
class Session {
  readonly connection: NatsConnection;
  /** Requests that wait for an answer, and how they hear that there will be none. */
  readonly pending = new Set<() => void>();
  broken = false;

  constructor(connection: NatsConnection) {
    this.connection = connection;
  }
}

interface Subscribed {
  readonly subject: string;
  readonly listeners: Set<Hear>;
  unsubscribe: (() => void) | undefined;
}

const backoffMs = { first: 50, longest: 2_000 };
/**
 * How long an attempt to connect anew may take at first; each one that takes too long doubles it, up to `connectTimeoutMs`. A client whose connection is reset while it greets the server hears nothing of it, and waits
 * for 20 s unless it was told otherwise.
 */
const attemptMs = 1_000;
/** JetStream answers nothing for a moment after a server's start, or while a stream has no leader. */
const noResponderMs = 50;

/**
 * The engine's connection, made anew when it was lost. The client would make it anew by itself, and then send what it was given meanwhile: so changes would take effect that
 * their callers were told had failed. Here a connection that was lost is given up, with all that was under way on it.
 */
export class NatsLink {
  readonly #settings: LinkSettings;
  readonly #world: World;
  readonly #subscriptions = new Map<string, Subscribed>();
  readonly #waiting = new Set<() => void>();
  #session: Session | undefined;
  #timer: Cancel | undefined;
  #failures = 0;
  #lastError: unknown;
  #closed = false;

  constructor(settings: LinkSettings) {
    this.#settings = settings;
    this.#world = settings.world;
  }

  get commandTimeoutMs(): number {
    return this.#settings.commandTimeoutMs;
  }

  get info(): NatsServerInfo | undefined {
    return this.#session?.connection.info;
  }

  /** What the server says of itself, once there is a connection. */
  async ready(): Promise<NatsServerInfo> {
    const deadline = this.#world.clock.monotonic() + this.#settings.commandTimeoutMs;
    const { info } = (await this.#connected("connecting", deadline)).connection;
    if (info === undefined) throw unreachable("connecting", this.#settings.commandTimeoutMs);
    return info;
  }

  /** Another one may not have all that the former one had. */
  get serverId(): string | undefined {
    return this.info?.server_id;
  }

  newHeaders(): NatsHeaders {
    return this.#settings.headers();
  }

  async open(): Promise<void> {
    let connection: NatsConnection;
    try {
      connection = await this.#connect(this.#settings.connectTimeoutMs, { keepsAlive: true });
    } catch (error) {
      if (isDenied(error)) throw denied("the connection", error);
      throw unreachable("connecting", this.#settings.connectTimeoutMs, error);
    }
    await this.#begin(connection);
  }

  /** Gives up what takes too long; a connection that comes afterwards is closed. */
  async #connect(limitMs: number, options: { readonly keepsAlive?: boolean } = {}): Promise<NatsConnection> {
    const { promise, resolve, reject } = Promise.withResolvers<NatsConnection>();
    let late = false;
    const giveUp = () => {
      late = true;
      reject(new Error(`no connection within ${limitMs} ms`));
    };
    const cancel = this.#world.timers.schedule(limitMs, giveUp, options);
    Promise.resolve()
      .then(() => this.#settings.connect())
      .then((connection) => (late ? drop(connection) : resolve(connection)), reject);
    try {
      return await promise;
    } finally {
      cancel();
    }
  }

  async #begin(connection: NatsConnection): Promise<void> {
    if (this.#closed) {
      drop(connection);
      return;
    }
    const session = new Session(connection);
    this.#session = session;
    connection.closed().then(
      (error) => this.#lose(session, error),
      (error) => this.#lose(session, error),
    );
    void this.#watch(session);
    for (const subscribed of this.#subscriptions.values()) this.#subscribe(session, subscribed);
    for (const wake of [...this.#waiting]) wake();
    await this.#flush(session);
    if (this.#session !== session) return;
    this.#failures = 0;
    for (const { listeners } of this.#subscriptions.values()) for (const hear of listeners) hear(undefined);
  }

  async #watch(session: Session): Promise<void> {
    try {
      for await (const { type } of session.connection.status()) {
        if (type === "disconnect" || type === "staleConnection") this.#lose(session, new Error(type));
        if (session.broken) return;
      }
    } catch (error) {
      this.#lose(session, error);
    }
  }

  #lose(session: Session, error: unknown): void {
    if (session.broken) return;
    session.broken = true;
    drop(session.connection);
    for (const end of [...session.pending]) end();
    if (this.#session !== session) return;
    this.#session = undefined;
    for (const subscribed of this.#subscriptions.values()) subscribed.unsubscribe = undefined;
    if (this.#closed) return;
    this.#lastError = error;
    this.#world.log.log("warn", "the connection to NATS was lost", { error: plain(error)?.message ?? "" });
    this.#connectLater();
  }

  #connectLater(): void {
    const delayMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(10, this.#failures++));
    this.#timer?.();
    this.#timer = this.#world.timers.schedule(delayMs * (0.5 + this.#world.random.float() / 2), () => {
      void this.#reconnect();
    });
  }

  async #reconnect(): Promise<void> {
    const limitMs = Math.min(this.#settings.connectTimeoutMs, attemptMs * 2 ** Math.min(10, this.#failures - 1));
    try {
      await this.#begin(await this.#connect(limitMs));
    } catch (error) {
      this.#lastError = error;
      if (!this.#closed && this.#session === undefined) this.#connectLater();
    }
  }

  // Asking -------------------------------------------------------------------------------------------------------------

  /**
   * Sends a request and answers what came back. Waits for a connection and for JetStream as long as a command may take. Fails with `unavailable`: `not-applied` when it was
   * not sent or nobody heard it, `unknown` when it was sent and not answered.
   */
  async request(
    what: string,
    subject: string,
    payload: Uint8Array | string,
    headers?: NatsHeaders,
  ): Promise<NatsMessage> {
    const { commandTimeoutMs } = this.#settings;
    const deadline = this.#world.clock.monotonic() + commandTimeoutMs;
    for (;;) {
      const session = await this.#connected(what, deadline);
      try {
        return await this.#ask(session, what, { subject, payload, headers });
      } catch (error) {
        if (!isNoResponder(error)) throw error;
        if (this.#world.clock.monotonic() + noResponderMs >= deadline) throw unreachable(what, commandTimeoutMs, error);
        await this.#pause(noResponderMs);
        if (this.#closed) throw closed(what);
      }
    }
  }

  async #connected(what: string, deadline: number): Promise<Session> {
    for (;;) {
      if (this.#closed) throw closed(what);
      if (this.#session !== undefined) return this.#session;
      const leftMs = deadline - this.#world.clock.monotonic();
      if (leftMs <= 0) throw unreachable(what, this.#settings.commandTimeoutMs, this.#lastError);
      await this.#pause(leftMs);
    }
  }

  /** For so long, or until there is a connection again. Who waits for an answer keeps the process alive. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        cancel();
        resolve();
      };
      const cancel = this.#world.timers.schedule(ms, wake, { keepsAlive: true });
      this.#waiting.add(wake);
    });
  }

  #ask(
    session: Session,
    what: string,
    { subject, payload, headers }: { subject: string; payload: Uint8Array | string; headers: NatsHeaders | undefined },
  ): Promise<NatsMessage> {
    const { commandTimeoutMs } = this.#settings;
    return new Promise((resolve, reject) => {
      const end = () => {
        session.pending.delete(end);
        reject(this.#closed ? closed(what, "unknown") : lost(what, commandTimeoutMs, "unknown", this.#lastError));
      };
      session.pending.add(end);
      const options = headers === undefined ? { timeout: commandTimeoutMs } : { timeout: commandTimeoutMs, headers };
      session.connection.request(subject, payload, options).then(
        (message) => {
          if (session.pending.delete(end)) resolve(message);
        },
        (error) => {
          if (!session.pending.delete(end)) return;
          if (isNoResponder(error)) reject(error);
          else if (isDenied(error)) reject(denied(what, error));
          else {
            // Whatever is still on its way must not arrive after others were told that it failed.
            reject(lost(what, commandTimeoutMs, "unknown", error));
            this.#lose(session, error);
          }
        },
      );
    });
  }

  /** Tells whoever listens. During an outage nobody hears it. */
  tell(subject: string, payload: string): void {
    try {
      this.#session?.connection.publish(subject, payload);
    } catch {
      // Whoever listens looks again by itself.
    }
  }

  // Listening ----------------------------------------------------------------------------------------------------------

  /** Resolves when the subject is listened to; during an outage at once, as the next connection takes up all subjects. */
  async listen(subject: string, hear: Hear): Promise<() => Promise<void>> {
    if (this.#closed) throw closed(`listening to ${subject}`);
    const own: Hear = (payload) => hear(payload);
    let subscribed = this.#subscriptions.get(subject);
    if (subscribed === undefined) {
      subscribed = { subject, listeners: new Set(), unsubscribe: undefined };
      this.#subscriptions.set(subject, subscribed);
    }
    subscribed.listeners.add(own);
    const session = this.#session;
    if (session !== undefined) {
      if (subscribed.unsubscribe === undefined) this.#subscribe(session, subscribed);
      await this.#flush(session);
    }
    return async () => this.#leave(subject, own);
  }

  #subscribe(session: Session, subscribed: Subscribed): void {
    try {
      const subscription = session.connection.subscribe(subscribed.subject, {
        callback: (error, message) => {
          if (session.broken) return;
          const payload = error === null ? Buffer.from(message.data).toString() : undefined;
          for (const hear of subscribed.listeners) hear(payload);
        },
      });
      subscribed.unsubscribe = () => subscription.unsubscribe();
    } catch (error) {
      this.#lose(session, error);
    }
  }

  #leave(subject: string, hear: Hear): void {
    const subscribed = this.#subscriptions.get(subject);
    if (subscribed?.listeners.delete(hear) !== true || subscribed.listeners.size > 0) return;
    this.#subscriptions.delete(subject);
    try {
      subscribed.unsubscribe?.();
    } catch {
      // The connection is gone, and the subscription with it.
    }
  }

  /** Everything sent so far has come to the server, or the connection is given up. */
  async #flush(session: Session): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const giveUp = () => {
      session.pending.delete(giveUp);
      resolve();
    };
    session.pending.add(giveUp);
    const cancel = this.#world.timers.schedule(this.#settings.commandTimeoutMs, () => {
      this.#lose(session, new Error("no answer to a ping"));
    });
    session.connection.flush().then(giveUp, (error) => this.#lose(session, error));
    await promise;
    cancel();
  }

  /** Idempotent. What is under way is given up. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#timer?.();
    this.#subscriptions.clear();
    const session = this.#session;
    this.#session = undefined;
    if (session !== undefined) this.#lose(session, undefined);
    for (const wake of [...this.#waiting]) wake();
  }
}

/** The client's own closing may wait for what will never come. */
function drop(connection: NatsConnection): void {
  Promise.resolve()
    .then(() => connection.close())
    .catch(() => undefined);
}

export function isUnknown(error: unknown): boolean {
  return !(error instanceof TenonError) || error.outcome === "unknown";
}
