import { type Outcome, TenonError } from "../../contracts/errors.ts";
import type { Address, Cancel, Network, World } from "../../world/world.ts";
import { plain } from "../shared/losses.ts";
import { closed, codes, failureOf, overdue, unreachable } from "./failures.ts";
import { type Credentials, ZookeeperSession } from "./session.ts";

export interface ConnectionSettings {
  readonly world: World;
  readonly connect: Network["connect"];
  readonly addresses: readonly Address[];
  readonly credentials: readonly Credentials[];
  readonly sessionTimeoutMs: number;
  /** How long an operation waits for a session, and then for its answer. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** Issues what it has to at once, so that it travels together and in this order. */
export type Issue<T> = (session: ZookeeperSession) => Promise<T>;

const backoffMs = { first: 25, longest: 1_000 };
/** How long a server may take to begin a session. */
const beginMs = 2_000;
/** How long closing waits for what is under way, and then for the end of the session. */
const drainMs = 1_000;
const leaveMs = 500;

/**
 * One session after the other, each over one connection: nothing hangs on a session, so none is taken up again. Nothing is sent while there is none, and nothing is
 * repeated; a session that does not answer in time is ended.
 */
export class ZookeeperConnection {
  readonly #settings: ConnectionSettings;
  readonly #world: World;
  readonly #connected = new Set<() => void>();
  readonly #told = new Set<(path: string) => void>();
  readonly #waiting = new Set<() => void>();
  readonly #underWay = new Set<(error: TenonError) => void>();
  readonly #ended = new AbortController();
  #session: ZookeeperSession | undefined;
  #lastChange = 0;
  #next: number;
  #trouble: unknown;
  #denied: TenonError | undefined;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.#world = settings.world;
    // So that processes spread over the servers.
    this.#next = Math.floor(settings.world.random.float() * settings.addresses.length);
    void this.#keep();
  }

  /** Calls back whenever there is a new session. */
  onConnected(listener: () => void): void {
    this.#connected.add(listener);
  }

  /** Calls back with the path of a node that was watched and has changed. */
  onTold(listener: (path: string) => void): void {
    this.#told.add(listener);
  }

  /** Rejects with a `TenonError`, or with a `ZookeeperError` that the server has answered. */
  async run<T>(what: string, outcome: Outcome, issue: Issue<T>): Promise<T> {
    const session = await this.#take(what);
    const { commandTimeoutMs } = this.#settings;
    const cut = Promise.withResolvers<never>();
    // Whoever is not raced against any more must not be reported.
    cut.promise.catch(() => undefined);
    const cancel = this.#world.timers.schedule(commandTimeoutMs, () => {
      cut.reject(overdue(what, commandTimeoutMs, outcome));
      session.end();
    });
    const end = () => cut.reject(closed(what, outcome));
    this.#underWay.add(end);
    try {
      return await Promise.race([issue(session), cut.promise]);
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

  async #take(what: string): Promise<ZookeeperSession> {
    const { commandTimeoutMs } = this.#settings;
    const until = this.#world.clock.monotonic() + commandTimeoutMs;
    for (;;) {
      if (this.#closing !== undefined) throw closed(what);
      if (this.#denied !== undefined) throw this.#denied;
      if (this.#session !== undefined && this.#session.reason === undefined) return this.#session;
      const leftMs = until - this.#world.clock.monotonic();
      if (leftMs <= 0) throw unreachable(what, commandTimeoutMs, this.#trouble);
      await this.#change(leftMs);
    }
  }

  /** Something about the session changes, or the time has passed. */
  #change(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        this.#waiting.delete(wake);
        resolve();
      };
      const cancel: Cancel = this.#world.timers.schedule(ms, wake);
      this.#waiting.add(wake);
    });
  }

  #changed(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Makes a session when there is none, for as long as the engine lives. */
  async #keep(): Promise<void> {
    const { random, timers, log } = this.#world;
    const { signal } = this.#ended;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        const session = await this.#begin();
        failures = -1;
        this.#session = session;
        this.#changed();
        for (const connected of this.#connected) connected();
        await session.broken;
        this.#lastChange = session.lastChange;
        if (session.reason?.code === codes.authFailed) this.#deny();
        this.#trouble = session.reason;
      } catch (error) {
        this.#trouble = error;
      }
      this.#session = undefined;
      this.#changed();
      if (signal.aborted) return;
      log.log("warn", "no session with ZooKeeper", { error: plain(this.#trouble)?.message ?? "" });
      const delayMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.max(0, Math.min(10, failures)));
      await timers.sleep(delayMs * (0.5 + random.float() / 2), { signal }).catch(() => undefined);
    }
  }

  #deny(): void {
    this.#denied = new TenonError("denied", "ZooKeeper refused the credentials. Mend them.");
    this.#ended.abort();
  }

  async #begin(): Promise<ZookeeperSession> {
    const { connect, addresses, credentials, sessionTimeoutMs } = this.#settings;
    const address = addresses[this.#next++ % addresses.length]!;
    const late = new AbortController();
    const give = () => late.abort(new Error(`${address.host}:${address.port} did not begin a session`));
    const cancel = this.#world.timers.schedule(beginMs, give);
    this.#ended.signal.addEventListener("abort", give);
    try {
      const connection = await connect(address, { signal: late.signal });
      const destroy = () => connection.destroy();
      late.signal.addEventListener("abort", destroy);
      try {
        late.signal.throwIfAborted();
        return await ZookeeperSession.open(connection, {
          world: this.#world,
          timeoutMs: sessionTimeoutMs,
          credentials,
          lastChange: this.#lastChange,
          told: (path) => {
            for (const told of this.#told) told(path);
          },
        });
      } catch (error) {
        connection.destroy();
        throw error;
      } finally {
        late.signal.removeEventListener("abort", destroy);
      }
    } finally {
      cancel();
      this.#ended.signal.removeEventListener("abort", give);
    }
  }

  /** What is done before there is an engine, within the time for that; whatever it is, it is no change. */
  async open<T>(work: () => Promise<T>): Promise<T> {
    const { connectTimeoutMs } = this.#settings;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = this.#world.timers.schedule(connectTimeoutMs, () =>
      reject(unreachable("the first request", connectTimeoutMs, this.#trouble)),
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
    this.#changed();
    const session = this.#session;
    if (this.#underWay.size > 0 && session !== undefined) {
      await this.#within(drainMs, (resolve) => {
        this.#drained = resolve;
      });
    }
    this.#ended.abort();
    for (const end of this.#underWay) end(closed("an operation"));
    if (session === undefined) return;
    await this.#within(leaveMs, (resolve) => void session.leave().then(resolve));
    session.end();
  }

  #within(ms: number, start: (resolve: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#world.timers.schedule(ms, resolve);
      start(() => {
        cancel();
        resolve();
      });
    });
  }
}
