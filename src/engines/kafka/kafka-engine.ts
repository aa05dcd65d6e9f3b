import { TenonError } from "../../contracts/errors.ts";
import type { LogEngine } from "../../contracts/log.ts";
import type { MessageEngine } from "../../contracts/messages.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { World } from "../../world/world.ts";
import { CheckedLog } from "../shared/log/checked-log.ts";
import { checkMs, checkWord } from "../shared/options.ts";
import { isPassing } from "../shared/passing.ts";
import { survivalLevels } from "../shared/requirements.ts";
import type { KafkaClient, KafkaConnection } from "./clients.ts";
import { Cluster, type ClusterSettings } from "./cluster.ts";
import type { BrokerAddress } from "./connections.ts";
import { closed, failureOf, unreachable } from "./failures.ts";
import { Journal } from "./journal/journal.ts";
import { KafkaLog } from "./log/kafka-log.ts";
import { type LogState, readLogState } from "./log/log-requirements.ts";
import { KafkaMessages } from "./messages/kafka-messages.ts";
import {
  checkVersions,
  isThere,
  type Requirement,
  readRequirements,
  type ServerState,
  type Survives,
} from "./requirements.ts";
import { TopicMaker, type TopicMakerSettings } from "./topic-maker.ts";

export interface KafkaOptions {
  /** The package: `import * as client from "@platformatic/kafka"`. */
  readonly client: KafkaClient;
  /**
   * Answers a new connection whenever it is called, not yet connected: `() => new client.Connection("orders", { sasl, tls })`. The engine connects it to the broker that it
   * needs, again after one was lost, and closes what it was given.
   */
  readonly connect: () => KafkaConnection;
  /** Where to begin: `"host:port"` of some of the brokers. */
  readonly brokers: readonly string[];
  /** What the names of its topics begin with, letters, digits and hyphens; `"tenon"` if left out. Engines that share brokers and prefix share everything. */
  readonly prefix?: string | undefined;
  /** `"make"`: makes the topic that holds the engine's journal when it is missing. `"expect"`, also when left out: it is there, by `"make"` at some time. */
  readonly journal?: "make" | "expect" | undefined;
  /** Copies of each partition of the topics that are made; what the brokers say if left out. */
  readonly replicationFactor?: number | undefined;
  /** Further settings of the topics that are made, as Kafka names them, such as `{ "min.insync.replicas": "2" }`. */
  readonly topicSettings?: Readonly<Record<string, string>> | undefined;
  /** How many connections are open to each broker at most, beside those that wait for news; 8 if left out. */
  readonly connectionsMax?: number | undefined;
  /**
   * What a compressed batch of another client may come to when it is decompressed, and as much of what is fetched at once; 64 MiB if left out. A larger one is `unsupported`, and is not gone
   * past.
   */
  readonly decompressedBytesMax?: number | undefined;
  /** What a confirmed change survives, at least; brokers that promise less are refused. What they promise if left out. */
  readonly survives?: Survives | undefined;
  /** Whether publishing and consuming create a topic that is missing; `"ifMissing"` if left out. In production say `"never"` and create topics on purpose. */
  readonly topicCreation?: "ifMissing" | "never" | undefined;
  /** How long an operation waits for a leader or a connection, and then for each answer; 5,000 ms if left out. */
  readonly commandTimeoutMs?: number | undefined;
  /** How long to wait for the first answer, and then for brokers that are only starting; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/** Kafka as an engine; see docs/kafka.md. */
export interface KafkaEngine extends AsyncDisposable {
  readonly name: "kafka";
  readonly world: World;
  /** What topics do that say nothing about it. */
  readonly topicCreation: "ifMissing" | "never";
  readonly messages: MessageEngine;
  readonly log: LogEngine;
  /** What the brokers' settings mean, as they were when the engine connected. */
  readonly requirements: readonly Requirement[];
  /** Aborts when the engine was closed. An outage does not end it. */
  readonly ended: AbortSignal;
  /** Gives every lane back and closes the connections; takes a few seconds at most, also when no broker answers. Idempotent. */
  close(): Promise<void>;
}

/** So many records of the journal are read at most beside its last snapshot, or twice that. */
const snapshotEvery = 5_000;

/**
 * Connects to Kafka 3.1 or later, looks at its settings, and reads the journal of what the engine keeps there.
 *
 * `unavailable` when no broker can be reached, `denied` when the credentials are refused, `not-found` when the journal is not there and may not be made, `conflict` when its settings do not keep
 * it or a later version wrote it, `unsupported` when the brokers are too old.
 */
export async function kafka(options: KafkaOptions): Promise<KafkaEngine> {
  const {
    client,
    connect,
    brokers,
    prefix = "tenon",
    journal = "expect",
    survives,
    world = systemWorld(),
  } = options ?? {};
  if (typeof connect !== "function" || typeof client !== "object" || client === null) {
    throw new TenonError(
      "invalid",
      "kafka() needs options with client, the package @platformatic/kafka, and connect, a function that answers a new Connection",
    );
  }
  const { connectionsMax = 8, commandTimeoutMs = 5_000, connectTimeoutMs = 10_000 } = options;
  const { topicCreation = "ifMissing", replicationFactor, topicSettings = {} } = options;
  const { decompressedBytesMax = 64 * 1024 * 1024 } = options;
  checkMs({ commandTimeoutMs, connectTimeoutMs });
  const counts = { connectionsMax, replicationFactor: replicationFactor ?? 1, decompressedBytesMax };
  for (const [name, value] of Object.entries(counts)) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new TenonError("invalid", `${name} must be a whole number of at least 1, not ${value}`);
  }
  if (!/^[A-Za-z0-9-]{1,64}$/.test(prefix)) {
    throw new TenonError("invalid", `the prefix is ${JSON.stringify(prefix)}, not 1 to 64 letters, digits and hyphens`);
  }
  checkWord("journal", journal, ["make", "expect"]);
  checkWord("topicCreation", topicCreation, ["ifMissing", "never"]);
  if (survives !== undefined) checkWord("survives", survives, survivalLevels);
  return ConnectedEngine.open({
    cluster: {
      world,
      client,
      connect,
      brokers: addressesOf(brokers),
      connectionsMax,
      decompressedBytesMax,
      commandTimeoutMs: Math.ceil(commandTimeoutMs),
    },
    connectTimeoutMs,
    maker: { replicationFactor, settings: topicSettings },
    prefix,
    makeJournal: journal === "make",
    survives,
    topicCreation,
  });
}

function addressesOf(brokers: readonly string[]): readonly BrokerAddress[] {
  const addresses = (Array.isArray(brokers) ? brokers : []).map((broker) => {
    const [, host, port] = /^\[?([^[\]]+)\]?:(\d{1,5})$/.exec(String(broker)) ?? [];
    if (host === undefined) throw new TenonError("invalid", `a broker is "host:port", not ${JSON.stringify(broker)}`);
    return { host, port: Number(port) };
  });
  if (addresses.length > 0) return addresses;
  throw new TenonError("invalid", 'kafka() needs brokers, a list with at least one "host:port"');
}

interface EngineSettings {
  readonly cluster: ClusterSettings;
  readonly connectTimeoutMs: number;
  readonly maker: TopicMakerSettings;
  readonly prefix: string;
  readonly makeJournal: boolean;
  readonly survives: Survives | undefined;
  readonly topicCreation: KafkaEngine["topicCreation"];
}

/** How long closing waits for what is under way. */
const drainMs = 1_000;

class ConnectedEngine implements KafkaEngine {
  readonly name = "kafka";
  readonly world: World;
  readonly topicCreation: KafkaEngine["topicCreation"];
  readonly messages: KafkaMessages;
  readonly log: CheckedLog;
  readonly requirements: readonly Requirement[];
  readonly #cluster: Cluster;
  readonly #journal: Journal;
  readonly #log: KafkaLog;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  static async open(settings: EngineSettings): Promise<ConnectedEngine> {
    const cluster = new Cluster(settings.cluster);
    const topic = `${settings.prefix}-journal`;
    const journal = new Journal(cluster, { topic, snapshotEvery });
    try {
      await withinTime(cluster, settings.connectTimeoutMs, checkVersions(cluster));
      const maker = new TopicMaker(cluster, settings.maker);
      // Brokers that have just been started take requests sooner than they can serve them.
      const states = await untilServed(cluster, settings.connectTimeoutMs, async () => {
        if (!(await isThere(cluster, topic))) await makeJournal(maker, topic, settings.makeJournal);
        const state = await readRequirements(cluster, topic, settings.survives);
        return { state, logState: await readLogState(cluster, topic, state.survives, settings.survives) };
      });
      await untilServed(cluster, settings.connectTimeoutMs, () => journal.open());
      return new ConnectedEngine(settings, cluster, journal, maker, states);
    } catch (error) {
      journal.close();
      cluster.close();
      throw failureOf(error, "opening the engine", "not-applied");
    }
  }

  private constructor(
    settings: EngineSettings,
    cluster: Cluster,
    journal: Journal,
    maker: TopicMaker,
    { state, logState }: { readonly state: ServerState; readonly logState: LogState },
  ) {
    const { prefix } = settings;
    this.world = cluster.world;
    this.topicCreation = settings.topicCreation;
    this.requirements = [...state.requirements, ...logState.requirements];
    this.#cluster = cluster;
    this.#journal = journal;
    this.messages = new KafkaMessages({ cluster, journal, maker, prefix, survives: state.survives });
    this.#log = new KafkaLog({ cluster, journal, maker, prefix, state: logState });
    this.log = new CheckedLog(this.#log, closed);
    for (const { setting, value, ok, meaning } of this.requirements) {
      this.world.log.log(ok ? "debug" : "info", `Kafka: ${setting} is ${value}`, { meaning });
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
    this.#ended.abort(new TenonError("closed", "the Kafka engine was closed"));
    this.log.close();
    await Promise.all([this.messages.close(), this.#log.close()]);
    await this.#cluster.drain(drainMs);
    this.#journal.close();
    this.#cluster.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The first answer. Later ones are bounded by themselves. */
async function withinTime(cluster: Cluster, timeoutMs: number, answer: Promise<void>): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const cancel = cluster.world.timers.schedule(timeoutMs, () =>
    reject(unreachable("the first request", timeoutMs, cluster.trouble)),
  );
  answer.catch(() => undefined);
  try {
    await Promise.race([answer, late]);
  } finally {
    cancel();
  }
}

/** Tries again for as long as it is an outage. */
async function untilServed<T>({ world }: Cluster, timeoutMs: number, act: () => Promise<T>): Promise<T> {
  const deadline = world.clock.monotonic() + timeoutMs;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isPassing(error) || world.clock.monotonic() >= deadline) throw error;
      await world.timers.sleep(100);
    }
  }
}

/** A journal has one partition: its order is what everything rests on. */
async function makeJournal(maker: TopicMaker, topic: string, mayMake: boolean): Promise<void> {
  if (!mayMake) {
    const text = `Kafka's topic ${topic}, which holds the engine's journal, is not there. Make it with the option journal: "make".`;
    throw new TenonError("not-found", text, { fields: { topic } });
  }
  const { partitions } = await maker.make([topic], 1);
  if (partitions === 1) return;
  const text = `Kafka's topic ${topic} has ${partitions} partitions, and a journal has one: it is another program's. Take another prefix.`;
  throw new TenonError("conflict", text, { fields: { topic, partitions } });
}
