import { isCode, TenonError } from "../../../contracts/errors.ts";
import type { Cancel, World } from "../../../world/world.ts";
import type { RedisClient } from "../clients.ts";
import type { Argument } from "../connection.ts";
import { RedisConnection } from "../redis-connection.ts";
import { readRequirements, type Survives } from "../requirements.ts";
import type { Script } from "../script.ts";
import { admit } from "./scripts.ts";

export interface ServerSettings {
  readonly world: World;
  readonly connect: () => RedisClient;
  /** Before every key and channel. */
  readonly prefix: string;
  readonly survives: Survives | undefined;
  /** How long a command waits to be sent, and then for its answer. */
  readonly serverTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** How long a server that may have lost what it had granted has no vote. */
  readonly awayMs: number;
}

const retryMs = 1_000;

/** One server of a quorum: it is connected to for as long as the engine lives, also when it could not be reached at first. */
export class QuorumServer {
  readonly #settings: ServerSettings;
  readonly #serverKey: string;
  readonly #opened = Promise.withResolvers<void>();
  #connection: RedisConnection | undefined;
  #survives: Survives | undefined;
  #run: string | undefined;
  #cancelRetry: Cancel | undefined;
  #isClosed = false;
  /** It failed to answer last time: nobody waits for it longer than for the others. */
  isSuspect = true;

  constructor(settings: ServerSettings) {
    this.#settings = settings;
    this.#serverKey = serverKeyOf(settings.prefix);
    this.#opened.promise.catch(() => undefined);
    void this.#open();
  }

  /** Resolves when it has been reached; rejects when it can be reached and must not be used. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  get isOpen(): boolean {
    return this.#connection !== undefined;
  }

  /** What its changes survive, as far as it has been reached. */
  get survives(): Survives | undefined {
    return this.#survives;
  }

  /** Which process it is: no two servers of a quorum are the same one. */
  get run(): string | undefined {
    return this.#run;
  }

  /** `unavailable` when it has no vote. */
  async ask(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<readonly Buffer[]> {
    try {
      let reply = await this.#send(script, keys, args);
      if (String(reply[0]) === "restarted") {
        await this.#admit(this.#connected(), false);
        reply = await this.#send(script, keys, args);
      }
      this.isSuspect = false;
      const what = String(reply[0]);
      if (what === "away") throw away(Number(String(reply[1])));
      if (what === "restarted") throw new TenonError("unavailable", "A server of the quorum was restarted just now.");
      return reply;
    } catch (error) {
      if (isCode(error, "unavailable") && !isAway(error)) this.isSuspect = true;
      throw error;
    }
  }

  async listen(channel: string, listener: () => void): Promise<() => Promise<void>> {
    return this.#connected().listen(channel, listener);
  }

  /** Whether it has ever had a vote under this prefix. */
  async isKnown(): Promise<boolean> {
    return (await this.#connected().command(this.#serverKey, ["EXISTS", this.#serverKey])) === 1;
  }

  /** An empty server is a new one. */
  async found(): Promise<void> {
    await this.#admit(this.#connected(), true);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRetry?.();
    this.#opened.reject(new TenonError("closed", "the quorum was closed"));
    await this.#connection?.close();
  }

  async #send(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<readonly Buffer[]> {
    return (await this.#connected().run(script, [...keys, this.#serverKey], args)) as readonly Buffer[];
  }

  #connected(): RedisConnection {
    if (this.#connection !== undefined) return this.#connection;
    throw new TenonError("unavailable", "A server of the quorum has not been reached yet.");
  }

  async #open(): Promise<void> {
    const { world, connect, serverTimeoutMs, connectTimeoutMs } = this.#settings;
    let connection: RedisConnection | undefined;
    try {
      connection = await RedisConnection.open({
        world,
        connect,
        commandTimeoutMs: serverTimeoutMs,
        connectTimeoutMs,
      });
      if (connection.isCluster) throw notIndependent();
      await this.#look(connection);
      if (this.#isClosed) return void (await connection.close());
      this.#connection = connection;
      this.isSuspect = false;
      this.#opened.resolve();
    } catch (error) {
      await connection?.close();
      if (this.#isClosed) return;
      if (!isCode(error, "unavailable")) {
        this.#opened.reject(error);
        world.log.log("error", "a server of the quorum must not be used", { error: String(error) });
      }
      this.#cancelRetry = world.timers.schedule(retryMs * (0.5 + world.random.float() / 2), () => void this.#open());
    }
  }

  async #look(connection: RedisConnection): Promise<void> {
    const { survives } = await readRequirements(connection, this.#settings.survives);
    this.#survives = survives;
    const info = String(await connection.command(undefined, ["INFO", "server"]));
    this.#run = /run_id:(\w+)/.exec(info)?.[1];
  }

  /** What a restart means depends on the settings that the server has now. */
  async #admit(connection: RedisConnection, isNew: boolean): Promise<void> {
    await this.#look(connection);
    const args = [this.#survives === "machine" ? "1" : "", this.#settings.awayMs, isNew ? "1" : ""];
    const [awayMs] = (await connection.run(admit, [this.#serverKey], args)) as readonly Buffer[];
    const left = Number(String(awayMs));
    if (left > 0) {
      this.#settings.world.log.log("warn", "a server of the quorum may have lost leases and stays away", {
        awayMs: left,
      });
    }
  }
}

function serverKeyOf(prefix: string): string {
  return `${prefix}:quorum:server`;
}

function away(ms: number): TenonError {
  const seconds = Math.ceil(ms / 1_000);
  const message = `A server of the quorum came back empty, is new, or may have lost its last changes, and has no vote for another ${seconds} s. If the whole quorum is new, call foundRedisQuorum once.`;
  return new TenonError("unavailable", message, { fields: { awayMs: Math.ceil(ms) } });
}

export function isAway(error: TenonError): boolean {
  return "awayMs" in error.fields;
}

function notIndependent(): TenonError {
  return new TenonError("invalid", "A quorum is made of independent primaries, not of nodes of a cluster.");
}
