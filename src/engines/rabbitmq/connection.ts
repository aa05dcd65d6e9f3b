import { TenonError } from "../../contracts/errors.ts";
import type { Cancel, World } from "../../world/world.ts";
import { Channel } from "./channel.ts";
import type { RabbitmqClient } from "./clients.ts";
import { blocked, closed, Gone, plain, replyCodeOf, unreachable } from "./failures.ts";

export interface ConnectionSettings {
  readonly world: World;
  readonly connect: () => Promise<RabbitmqClient>;
  /** How long an answer may take, and how long an operation waits for a connection or a lock. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** How soon a lost connection is made anew, at first and at most. */
const retryMs = 50;
const retryMsMax = 2_000;
/** So many channels are kept for the next ones who need one. */
const idleMax = 16;

interface Session {
  readonly client: RabbitmqClient;
  readonly channels: Set<Channel>;
  readonly idle: Channel[];
  blockedBy: string | undefined;
}

/** The connection to the server, made anew whenever it was lost, and its channels. */
export class RabbitmqConnection {
  readonly world: World;
  readonly commandTimeoutMs: number;
  readonly #settings: ConnectionSettings;
  readonly #connected = new Set<() => void>();
  #session: Session | undefined;
  #connecting: Promise<Session> | undefined;
  #waiting: (() => void)[] = [];
  #failures = 0;
  #lastFailure: unknown;
  #cancelRetry: Cancel | undefined;
  #isClosed = false;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.world = settings.world;
    this.commandTimeoutMs = settings.commandTimeoutMs;
  }

  /** The first connection, which is not repeated. Answers what the server says of itself. */
  async open(): Promise<RabbitmqClient> {
    return (await this.#connect()).client;
  }

  /** Calls back after each connection that was made anew. Answers how to stop. */
  onConnected(hear: () => void): () => void {
    this.#connected.add(hear);
    return () => this.#connected.delete(hear);
  }

  /** A channel of one's own, to be closed by the caller. */
  async channel(what: string): Promise<Channel> {
    const session = await this.#reach(what);
    return this.#open(session, what);
  }

  /** Works with a channel that goes back to the others, unless it ended or the work failed in a way that leaves something behind. */
  async with<T>(what: string, work: (channel: Channel) => Promise<T>): Promise<T> {
    const channel = await this.borrow(what);
    try {
      const answer = await work(channel);
      this.giveBack(channel);
      return answer;
    } catch (error) {
      void channel.close();
      throw error;
    }
  }

  /** A channel that goes back to the others when it is given back; it may be closed instead. */
  async borrow(what: string): Promise<Channel> {
    const session = await this.#reach(what);
    this.throwIfBlocked(what);
    let channel = session.idle.pop();
    while (channel?.isFree === false) channel = session.idle.pop();
    return channel ?? this.#open(session, what);
  }

  /** Nothing of what it took may be in hand. */
  giveBack(channel: Channel): void {
    const session = this.#session;
    if (channel.isFree && session !== undefined && session.idle.length < idleMax) session.idle.push(channel);
    else void channel.close();
  }

  /** The server has an alarm and reads nothing from whoever publishes. */
  throwIfBlocked(what: string): void {
    const reason = this.#session?.blockedBy;
    if (reason !== undefined) throw blocked(what, reason);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#wakeAll();
    const session = this.#session;
    if (session === undefined) return;
    // Taking leave waits for an answer, which may not come; nobody has to wait for that.
    const cut = this.world.timers.schedule(1_000, () => session.client.connection.stream?.destroy());
    this.#lose(session, closed("what was under way", "unknown"));
    session.client.close().then(cut, cut);
  }

  // Connecting ---------------------------------------------------------------------------------------------------------

  async #reach(what: string): Promise<Session> {
    const deadline = this.world.clock.monotonic() + this.commandTimeoutMs;
    for (;;) {
      if (this.#isClosed) throw closed(what);
      if (this.#session !== undefined) return this.#session;
      const leftMs = deadline - this.world.clock.monotonic();
      if (leftMs <= 0) throw unreachable(what, this.commandTimeoutMs, this.#lastFailure);
      await new Promise<void>((resolve) => {
        const cancel = this.world.timers.schedule(leftMs, resolve);
        this.#waiting.push(() => {
          cancel();
          resolve();
        });
      });
    }
  }

  #wakeAll(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  #connect(): Promise<Session> {
    this.#connecting ??= this.#runConnect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #runConnect(): Promise<Session> {
    const client = await this.#client();
    const session: Session = { client, channels: new Set(), idle: [], blockedBy: undefined };
    client.on("error", (error) => this.#lose(session, error));
    client.on("close", () => this.#lose(session, new Error("the connection was closed")));
    client.on("blocked", (reason) => {
      session.blockedBy = reason === "" ? "an alarm" : reason;
    });
    client.on("unblocked", () => {
      session.blockedBy = undefined;
    });
    // Most requests are smaller than a packet and wait for their answer: measured, 45 ms each with Nagle's algorithm, 1.2 ms without.
    client.connection.stream?.setNoDelay?.(true);
    this.#session = session;
    this.#failures = 0;
    this.#wakeAll();
    for (const hear of this.#connected) hear();
    return session;
  }

  async #client(): Promise<RabbitmqClient> {
    const { connect, connectTimeoutMs, world } = this.#settings;
    const timeout = Promise.withResolvers<never>();
    timeout.promise.catch(() => undefined);
    const cancel = world.timers.schedule(connectTimeoutMs, () =>
      timeout.reject(new Error(`no connection within ${connectTimeoutMs} ms`)),
    );
    const connecting = connect();
    try {
      const client = await Promise.race([connecting, timeout.promise]);
      if (!this.#isClosed) return client;
      void client.close().catch(() => undefined);
      throw closed("connecting");
    } catch (error) {
      connecting.then(
        (late) => late.connection.stream?.destroy(),
        () => undefined,
      );
      throw connectFailure(error);
    } finally {
      cancel();
    }
  }

  #lose(session: Session, cause: unknown): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#lastFailure = cause;
    for (const channel of [...session.channels]) channel.end(cause);
    if (this.#isClosed) return;
    this.world.log.log("warn", "the connection to RabbitMQ was lost; it is made anew", { error: String(plain(cause)) });
    this.#retryIn(0);
  }

  #retryIn(ms: number): void {
    this.#cancelRetry = this.world.timers.schedule(ms, () => {
      if (this.#isClosed) return;
      this.#connect().catch((error) => {
        this.#lastFailure = error;
        const backoffMs = Math.min(retryMs * 2 ** this.#failures, retryMsMax);
        this.#failures += 1;
        // Of many clients that lost one server, not all come back at once.
        this.#retryIn(backoffMs * (0.5 + this.world.random.float() / 2));
      });
    });
  }

  // Channels -----------------------------------------------------------------------------------------------------------

  async #open(session: Session, what: string): Promise<Channel> {
    const { world, commandTimeoutMs } = this.#settings;
    const cut = () => {
      // It reads nothing from whoever publishes until it has room again; a new connection would fare no better.
      if (session.blockedBy !== undefined) return;
      session.client.connection.stream?.destroy();
      this.#lose(session, new Error("the server did not answer"));
    };
    const timeout = Promise.withResolvers<never>();
    timeout.promise.catch(() => undefined);
    const cancel = world.timers.schedule(commandTimeoutMs, () => {
      timeout.reject(new Error("no answer"));
      cut();
    });
    try {
      const opened = await Promise.race([session.client.createConfirmChannel(), timeout.promise]);
      const channel = new Channel(opened, { world, commandTimeoutMs, cut });
      session.channels.add(channel);
      channel.onEnd = () => session.channels.delete(channel);
      if (this.#session !== session) channel.end(new Error("the connection was lost"));
      return channel;
    } catch (error) {
      if (this.#isClosed) throw closed(what);
      throw unreachable(what, commandTimeoutMs, error);
    } finally {
      cancel();
    }
  }
}

function connectFailure(error: unknown): TenonError {
  if (error instanceof TenonError) return error;
  const cause = plain(error instanceof Gone ? error.message : error);
  const text = String(cause?.message);
  if (replyCodeOf(error) === 403 || /ACCESS_REFUSED|\b403\b/.test(text)) {
    return new TenonError("denied", "RabbitMQ refused the credentials. Mend them in the connector.", { cause });
  }
  return new TenonError("unavailable", "RabbitMQ could not be reached. Look at the cause, and try again.", { cause });
}
