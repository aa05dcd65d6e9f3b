import type { World } from "../../world/world.ts";
import type { RedisClient } from "./clients.ts";
import type { Argument, DirectConnection } from "./connection.ts";
import { closed, unreachable } from "./failures.ts";
import { Link } from "./link.ts";
import { Predecessors } from "./predecessors.ts";
import type { Script } from "./script.ts";
import { ScriptRunner } from "./script-runner.ts";
import { Subscriptions } from "./subscriptions.ts";

export interface ConnectionSettings {
  readonly world: World;
  /** Answers a new client each time; it belongs to the connection from then on. */
  readonly connect: () => RedisClient;
  readonly commandTimeoutMs: number;
  /** How long the first connection may take. */
  readonly connectTimeoutMs: number;
}

/** One client for commands and, once somebody listens, one for channels. */
export class RedisConnection implements DirectConnection {
  readonly #world: World;
  readonly #link: Link;
  readonly #scripts: ScriptRunner;
  readonly #subscriptions: Subscriptions;
  #closing: Promise<void> | undefined;

  /** Resolves when the server has been reached. */
  static async open(settings: ConnectionSettings): Promise<RedisConnection> {
    const connection = new RedisConnection(settings);
    try {
      await connection.#opened(settings.connectTimeoutMs);
      return connection;
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  private constructor(settings: ConnectionSettings) {
    const { world, connect, commandTimeoutMs } = settings;
    this.#world = world;
    const predecessors = new Predecessors(world);
    this.#link = new Link({
      world,
      connect,
      commandTimeoutMs,
      prepare: (session) => predecessors.succeed(session),
      ready: () => this.#scripts.forget(),
    });
    this.#scripts = new ScriptRunner(this.#link);
    // Published messages reach every node of a cluster, so one node is listened to; a cluster's client would not say what it missed.
    const connectListener = () => (this.isCluster ? this.#link.node() : connect());
    this.#subscriptions = new Subscriptions({ world, connect: connectListener, commandTimeoutMs });
  }

  async #opened(timeoutMs: number): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    const cancel = this.#world.timers.schedule(timeoutMs, () =>
      reject(unreachable("the first command", timeoutMs, this.#link.trouble)),
    );
    try {
      await Promise.race([this.#link.opened, promise]);
    } finally {
      cancel();
    }
  }

  get isCluster(): boolean {
    return this.#link.isCluster;
  }

  command(key: string | undefined, args: readonly Argument[]): Promise<unknown> {
    return this.#link.command(key, args);
  }

  run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    return this.#scripts.run(script, keys, args);
  }

  runFor(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    resolve: (reply: unknown) => void,
    reject: (error: unknown) => void,
  ): void {
    this.#scripts.runFor(script, keys, args, resolve, reject);
  }

  flush(): void {
    this.#link.flush();
  }

  listen(channel: string, listener: (payload: Buffer | undefined) => void): Promise<() => Promise<void>> {
    if (this.#closing !== undefined) return Promise.reject(closed(`listening to ${channel}`));
    return this.#subscriptions.listen(channel, listener);
  }

  close(): Promise<void> {
    this.#closing ??= Promise.all([this.#link.close(), this.#subscriptions.close()]).then(() => undefined);
    return this.#closing;
  }
}
