import { TenonError } from "../../contracts/errors.ts";
import type { KeyValueEngine } from "../../contracts/key-value.ts";
import type { LeaseEngine } from "../../contracts/leases.ts";
import type { LogEngine } from "../../contracts/log.ts";
import type { MessageEngine } from "../../contracts/messages.ts";
import type { RateEngine } from "../../contracts/rates.ts";
import type { World } from "../../world/world.ts";
import { CheckedLog } from "../shared/log/checked-log.ts";
import type { RedisClient } from "./clients.ts";
import { RedisKeyValues } from "./key-values/redis-key-values.ts";
import { RedisLeases } from "./leases/redis-leases.ts";
import { RedisLog } from "./log/redis-log.ts";
import { RedisMessages } from "./messages/redis-messages.ts";
import { engineClosed } from "./messages/replies.ts";
import { RedisRates } from "./rates/redis-rates.ts";
import { RedisConnection } from "./redis-connection.ts";
import { type Requirement, readRequirements, type ServerState, type Survives } from "./requirements.ts";

/** Redis as an engine; see docs/redis.md. */
export interface RedisEngine extends AsyncDisposable {
  readonly name: "redis";
  readonly world: World;
  /** What topics do that say nothing about it. */
  readonly topicCreation: "ifMissing" | "never";
  readonly messages: MessageEngine;
  readonly keyValue: KeyValueEngine;
  readonly leases: LeaseEngine;
  readonly rates: RateEngine;
  readonly log: LogEngine;
  /** What the server's settings mean, as they were when the engine connected. */
  readonly requirements: readonly Requirement[];
  /** Aborts when the engine was closed. An outage does not end it. */
  readonly ended: AbortSignal;
  /** Gives every lane back and closes the connections; takes a few seconds at most, also when the server does not answer. Idempotent. */
  close(): Promise<void>;
}

export interface EngineSettings {
  readonly world: World;
  readonly connect: () => RedisClient;
  readonly prefix: string;
  readonly keyValueTag: string;
  readonly survives: Survives | undefined;
  readonly topicCreation: RedisEngine["topicCreation"];
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

export class ConnectedEngine implements RedisEngine {
  readonly name = "redis";
  readonly world: World;
  readonly topicCreation: RedisEngine["topicCreation"];
  readonly messages: RedisMessages;
  readonly keyValue: RedisKeyValues;
  readonly leases: RedisLeases;
  readonly rates: RedisRates;
  readonly log: CheckedLog;
  readonly requirements: readonly Requirement[];
  readonly #connection: RedisConnection;
  readonly #log: RedisLog;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  static async open(settings: EngineSettings): Promise<ConnectedEngine> {
    const connection = await RedisConnection.open(settings);
    try {
      return new ConnectedEngine(settings, connection, await readRequirements(connection, settings.survives));
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  private constructor(settings: EngineSettings, connection: RedisConnection, state: ServerState) {
    const { world, prefix, keyValueTag } = settings;
    const { survives, requirements } = state;
    this.world = world;
    this.topicCreation = settings.topicCreation;
    this.requirements = requirements;
    this.#connection = connection;
    this.messages = new RedisMessages(connection, { world, prefix, survives });
    this.keyValue = new RedisKeyValues(connection, { world, prefix, tag: keyValueTag, survives });
    this.leases = new RedisLeases(connection, { world, prefix, survives });
    this.rates = new RedisRates(connection, { prefix, survives });
    this.#log = new RedisLog(connection, { world, prefix, survives });
    this.log = new CheckedLog(this.#log, engineClosed);
    for (const { setting, value, ok, meaning } of requirements) {
      world.log.log(ok ? "debug" : "info", `Redis: ${setting} is ${value ?? "not to be read"}`, { meaning });
    }
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const reason = new TenonError("closed", "the Redis engine was closed");
    this.keyValue.close(reason);
    const leases = this.leases.close(reason);
    this.rates.close(reason);
    this.log.close();
    this.#log.close(reason);
    // In the same turn, so that a watch with this signal ends quietly.
    this.#ended.abort(reason);
    await Promise.all([leases, this.messages.close()]);
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
