import { type Outcome, TenonError } from "../../contracts/errors.ts";
import type { Cancel, World } from "../../world/world.ts";
import type { ZookeeperClient } from "./clients.ts";
import { closed, failureOf, overdue, unreachable } from "./failures.ts";

export interface ConnectionSettings {
  readonly world: World;
  /** Answers a new client each time; it belongs to the engine from then on. */
  readonly connect: () => ZookeeperClient;
  /** How long an operation waits for a connection, and then for its answer. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** The codes of the client's states. */
const states = { disconnected: 0, connected: 3, denied: 4, expired: -122 } as const;
const backoffMs = { first: 50, longest: 2_000 };
/** How long closing waits for what is under way. */
const drainMs = 1_000;
const leaveMs = 500;

/** Issues what it has to at once, so that it travels together and in this order. */
export type Issue<T> = (client: ZookeeperClient) => Promise<T>;

/**
 * One client, which finds its way back to a server by itself. One whose session has ended, or that does not answer in time, is thrown away for a new one: nothing hangs on a session. Nothing is
 * sent while there is no connection, and nothing is repeated.
 */
export class ZookeeperConnection {
  readonly #settings: ConnectionSettings;
  readonly #world: World;
  readonly #connected = new Set<() => void>();
  readonly #waiting = new Set<() => void>();
  readonly #underWay = new Set<(error: TenonError) => void>();
  #client: ZookeeperClient | undefined;
  #isConnected = false;
  #denied: TenonError | undefined;
  #failures = 0;
  #timer: Cancel | undefined;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.#world = settings.world;
    this.#start();
  }

  /** Calls back whenever there is a connection again. */
  onConnected(listener: () => void): void {
    this.#connected.add(listener);
  }

  async run<T>(what: string, outcome: Outcome, issue: Issue<T>): Promise<T> {
    const client = await this.#take(what);
    const { commandTimeoutMs } = this.#settings;
    const cut = Promise.withResolvers<never>();
    // Whoever is not raced against any more must not be reported.
    cut.promise.catch(() => undefined);
    const cancel = this.#world.timers.schedule(commandTimeoutMs, () => {
      this.#drop(client);
      cut.reject(overdue(what, commandTimeoutMs, outcome));
    });
    const end = (error: TenonError) => cut.reject(error.code === "closed" ? closed(what, outcome) : error);
    this.#underWay.add(end);
    try {
      return await Promise.race([issue(client), cut.promise]);
    } finally {
      cancel();
      this.#underWay.delete(end);
      if (this.#underWay.size === 0) this.#drained?.();
    }
  }

  /** As `run`, for what only fails when something is wrong. */
  async call<T>(what: string, outcome: Outcome, issue: Issue<T>): Promise<T> {
    try {
      return await this.run(what, outcome, issue);
    } catch (error) {
      throw failureOf(error, what, outcome);
    }
  }

  async #take(what: string): Promise<ZookeeperClient> {
    const { commandTimeoutMs } = this.#settings;
    const until = this.#world.clock.monotonic() + commandTimeoutMs;
    for (;;) {
      if (this.#closing !== undefined) throw closed(what);
      if (this.#denied !== undefined) throw this.#denied;
      if (this.#client !== undefined && this.#isConnected) return this.#client;
      const leftMs = until - this.#world.clock.monotonic();
      if (leftMs <= 0) throw unreachable(what, commandTimeoutMs, undefined);
      await this.#change(leftMs);
    }
  }

  /** Something about the connection changes, or the time has passed. */
  #change(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        this.#waiting.delete(wake);
        resolve();
      };
      const cancel = this.#world.timers.schedule(ms, wake);
      this.#waiting.add(wake);
    });
  }

  #changed(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #start(): void {
    if (this.#closing !== undefined) return;
    const client = this.#settings.connect();
    const wanted = ["connect", "close", "getState", "on", "getData", "setData", "exists", "transaction"] as const;
    if (typeof client !== "object" || client === null || wanted.some((name) => typeof client[name] !== "function")) {
      const text = "connect must answer a new client of the package node-zookeeper-client, not yet connected";
      throw new TenonError("invalid", text);
    }
    this.#client = client;
    client.on("state", ({ code }) => {
      if (this.#client === client) this.#met(client, code);
    });
    client.connect();
    // A connection that is silent from the beginning is thrown away as well.
    this.#timer = this.#world.timers.schedule(this.#settings.commandTimeoutMs, () => {
      if (this.#client === client && !this.#isConnected) this.#drop(client);
    });
  }

  #met(client: ZookeeperClient, code: number): void {
    this.#isConnected = code === states.connected;
    if (this.#isConnected) {
      this.#failures = 0;
      for (const connected of this.#connected) connected();
    } else if (code === states.denied) {
      this.#denied = new TenonError("denied", "ZooKeeper refused the credentials. Mend them.");
    } else this.#world.log.log("warn", "the connection to ZooKeeper was lost", { state: code });
    if (code === states.expired) this.#drop(client);
    this.#changed();
  }

  /** What it may still answer is not waited for. */
  #drop(client: ZookeeperClient): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#isConnected = false;
    this.#timer?.();
    cut(client);
    const delayMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(10, this.#failures++));
    this.#timer = this.#world.timers.schedule(delayMs * (0.5 + this.#world.random.float() / 2), () => this.#start());
  }

  /** What is done before there is an engine, within the time for that; whatever it is, it is no change. */
  async open<T>(work: () => Promise<T>): Promise<T> {
    const { connectTimeoutMs } = this.#settings;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = this.#world.timers.schedule(connectTimeoutMs, () =>
      reject(unreachable("the first request", connectTimeoutMs, undefined)),
    );
    try {
      return await Promise.race([work(), late]);
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      cancel();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#timer?.();
    this.#changed();
    if (this.#underWay.size > 0 && this.#isConnected) {
      await new Promise<void>((resolve) => {
        const cancel = this.#world.timers.schedule(drainMs, resolve);
        this.#drained = () => {
          cancel();
          resolve();
        };
      });
    }
    const client = this.#client;
    const wasConnected = this.#isConnected;
    this.#client = undefined;
    for (const end of this.#underWay) end(closed("an operation"));
    if (client === undefined) return;
    if (wasConnected) await this.#takeLeave(client);
    cut(client);
  }

  /** So that the server need not wait for the end of the session. */
  #takeLeave(client: ZookeeperClient): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#world.timers.schedule(leaveMs, resolve);
      client.on("state", () => {
        cancel();
        resolve();
      });
      client.close();
    });
  }
}

/** Without waiting for an answer; a session without ephemeral nodes keeps nobody from anything. */
function cut(client: ZookeeperClient): void {
  const { code } = client.getState();
  if (code !== states.expired && code !== states.denied) client.close();
  client.connectionManager?.socket?.destroy();
}

/** A promise for what the client calls back with. */
export function answerOf<T>(start: (done: (error: unknown, answer: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => start((error, answer) => (error ? reject(error) : resolve(answer))));
}
