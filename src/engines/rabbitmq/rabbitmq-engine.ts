import { TenonError } from "../../contracts/errors.ts";
import type { MessageEngine } from "../../contracts/messages.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { World } from "../../world/world.ts";
import { checkMs, checkWord } from "../shared/options.ts";
import { survivalLevels } from "../shared/requirements.ts";
import type { RabbitmqClient, RabbitmqQueueOptions } from "./clients.ts";
import { type ConnectionSettings, RabbitmqConnection } from "./connection.ts";
import { LockedValues } from "./locked-values.ts";
import { RabbitmqMessages } from "./messages/rabbitmq-messages.ts";
import { type Names, namesOf } from "./names.ts";
import { News } from "./news.ts";
import { type RabbitmqState, type Requirement, readRequirements, type Survives } from "./requirements.ts";
import { makeStart, startIsThere } from "./start.ts";

export interface RabbitmqEngineOptions {
  /**
   * Connects whenever it is called, with a heartbeat: `() => connect("amqp://…?heartbeat=10")` of the package amqplib. The engine calls it once, and again after the connection
   * was lost; it closes what it was given. The client must not reconnect by itself.
   */
  readonly connect: () => Promise<RabbitmqClient>;
  /** What the names of its queues and exchanges begin with; `"tenon"` if left out. Engines that share virtual host and prefix share everything. */
  readonly prefix?: string | undefined;
  /** `"make"`: makes what is missing of the few queues that everything starts from. `"expect"`, also when left out: they are there, by `"make"` at some time. */
  readonly queues?: "make" | "expect" | undefined;
  /**
   * What a confirmed change survives. `"machine"` if left out, which is what one node gives that has not been told to do without syncing. `"replicas"` is for clusters of three
   * nodes or more; it cannot be read, so it is stated.
   */
  readonly survives?: Survives | undefined;
  /** Whether publishing and consuming create a topic that is missing; `"ifMissing"` if left out. In production say `"never"` and create topics on purpose. */
  readonly topicCreation?: "ifMissing" | "never" | undefined;
  /** How long an operation waits for a connection or a lock, and then for each answer; 10,000 ms if left out. */
  readonly commandTimeoutMs?: number | undefined;
  /** How long a connection may take to be made; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/** RabbitMQ as an engine for messages; see docs/rabbitmq.md. */
export interface RabbitmqEngine extends AsyncDisposable {
  readonly name: "rabbitmq";
  readonly world: World;
  /** What topics do that say nothing about it. */
  readonly topicCreation: "ifMissing" | "never";
  readonly messages: MessageEngine;
  /** What the server and the connection are like, as they were when the engine connected. */
  readonly requirements: readonly Requirement[];
  /** Aborts when the engine was closed. An outage does not end it. */
  readonly ended: AbortSignal;
  /** Gives every lane back and closes the connection; takes a few seconds at most, also when the server does not answer. Idempotent. */
  close(): Promise<void>;
}

/**
 * Connects to RabbitMQ 3.10 or later and looks at what it is.
 *
 * `unavailable` when it cannot be reached, `denied` when it refuses the credentials, `not-found` when the first queues are not there and may not be made, `unsupported` when it is too old or another
 * server, `invalid` when the connection has no heartbeat.
 */
export async function rabbitmq(options: RabbitmqEngineOptions): Promise<RabbitmqEngine> {
  if (typeof options?.connect !== "function") {
    const text = 'rabbitmq() needs options with connect, such as () => connect("amqp://…?heartbeat=10") of amqplib';
    throw new TenonError("invalid", text);
  }
  const { connect, prefix = "tenon", queues = "expect", survives, world = systemWorld() } = options;
  const { commandTimeoutMs = 10_000, connectTimeoutMs = 10_000, topicCreation = "ifMissing" } = options;
  checkMs({ commandTimeoutMs, connectTimeoutMs });
  checkWord("queues", queues, ["make", "expect"]);
  checkWord("topicCreation", topicCreation, ["ifMissing", "never"]);
  if (survives !== undefined) checkWord("survives", survives, survivalLevels);
  const names = namesOf(prefix);
  const connection: ConnectionSettings = { world, connect, commandTimeoutMs, connectTimeoutMs };
  return ConnectedEngine.open({ connection, names, makeQueues: queues === "make", survives, topicCreation });
}

interface EngineSettings {
  readonly connection: ConnectionSettings;
  readonly names: Names;
  readonly makeQueues: boolean;
  readonly survives: Survives | undefined;
  readonly topicCreation: RabbitmqEngine["topicCreation"];
}

class ConnectedEngine implements RabbitmqEngine {
  readonly name = "rabbitmq";
  readonly world: World;
  readonly topicCreation: RabbitmqEngine["topicCreation"];
  readonly messages: RabbitmqMessages;
  readonly requirements: readonly Requirement[];
  readonly #connection: RabbitmqConnection;
  readonly #news: News;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  static async open(settings: EngineSettings): Promise<ConnectedEngine> {
    const connection = new RabbitmqConnection(settings.connection);
    try {
      const client = await connection.open();
      const state = readRequirements(client, settings.survives);
      const queue = quorumQueue(state.major);
      // A lock is made once and never written again; it must not be lost with the machine that made it.
      const lock = state.classicQueuesSync && state.survives !== "replicas" ? { durable: true } : queue;
      const values = new LockedValues(connection, { lock, state: queue });
      if (settings.makeQueues) await makeStart(connection, values, settings.names, queue);
      else await startIsThere(connection, settings.names);
      return new ConnectedEngine(settings, connection, values, queue, state);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  private constructor(
    settings: EngineSettings,
    connection: RabbitmqConnection,
    values: LockedValues,
    queue: RabbitmqQueueOptions,
    { survives, requirements }: RabbitmqState,
  ) {
    const { names } = settings;
    const { world } = settings.connection;
    this.world = world;
    this.topicCreation = settings.topicCreation;
    this.requirements = requirements;
    this.#connection = connection;
    this.#news = new News(connection, names);
    this.messages = new RabbitmqMessages({ world, names, survives, connection, values, news: this.#news, queue });
    for (const { setting, value, ok, meaning } of requirements) {
      world.log.log(ok ? "debug" : "info", `RabbitMQ: ${setting} is ${value}`, { meaning });
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
    // In the same turn, so that whoever has this signal ends quietly.
    this.#ended.abort(new TenonError("closed", "the RabbitMQ engine was closed"));
    await this.messages.close();
    this.#news.close();
    this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** RabbitMQ 4 would drop what was given back twenty times. */
function quorumQueue(major: number): RabbitmqQueueOptions {
  const type = { "x-queue-type": "quorum" };
  return { durable: true, arguments: major >= 4 ? { ...type, "x-delivery-limit": -1 } : type };
}
