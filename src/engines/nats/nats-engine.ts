import { TenonError } from "../../contracts/errors.ts";
import type { KeyValueEngine } from "../../contracts/key-value.ts";
import type { LogEngine } from "../../contracts/log.ts";
import type { MessageEngine } from "../../contracts/messages.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { World } from "../../world/world.ts";
import { CheckedLog } from "../shared/log/checked-log.ts";
import { checkMs, checkWord } from "../shared/options.ts";
import { isPassing } from "../shared/passing.ts";
import { survivalLevels } from "../shared/requirements.ts";
import type { NatsConnection, NatsHeaders } from "./clients.ts";
import { closed } from "./failures.ts";
import { JetStream } from "./jet-stream.ts";
import { NatsKeyValues } from "./key-values/nats-key-values.ts";
import { type LinkSettings, NatsLink } from "./link.ts";
import { NatsLog } from "./log/nats-log.ts";
import { NatsMessages } from "./messages/nats-messages.ts";
import { checkServer, type Requirement, type Survives, stateOf } from "./requirements.ts";
import { ServerClock } from "./server-clock.ts";
import { openStreams, type Streams, streamsOf } from "./streams.ts";

export interface NatsEngineOptions {
  /**
   * Answers a new connection whenever it is called: `() => connect({ servers })` of the package `@nats-io/transport-node`. The engine calls it at its start, and again after a connection
   * was lost; it closes what it was given.
   */
  readonly connect: () => Promise<NatsConnection>;
  /** `headers` of the same package: makes the headers that conditions stand in. */
  readonly headers: () => NatsHeaders;
  /** What the names of its streams and subjects begin with; `"tenon"` if left out. Engines that share account and prefix share everything. */
  readonly prefix?: string | undefined;
  /** `"make"`: makes the streams that are missing. `"expect"`, also when left out: they are there, by `"make"` at some time or as `natsStreams()` says. */
  readonly streams?: "make" | "expect" | undefined;
  /** On how many servers streams are kept that are made; 1 if left out. */
  readonly replicas?: number | undefined;
  /** What a confirmed change survives. What can be read of the server if left out; `"machine"` has to be said, as no server tells its `sync_interval`. */
  readonly survives?: Survives | undefined;
  /** Whether publishing and consuming create a topic that is missing; `"ifMissing"` if left out. In production say `"never"` and create topics on purpose. */
  readonly topicCreation?: "ifMissing" | "never" | undefined;
  /** How long an operation waits for a connection, and then for each answer; 5,000 ms if left out. */
  readonly commandTimeoutMs?: number | undefined;
  /** How long a connection may take to be made; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/** NATS JetStream as an engine; see docs/nats.md. */
export interface NatsEngine extends AsyncDisposable {
  readonly name: "nats";
  readonly world: World;
  /** What topics do that say nothing about it. */
  readonly topicCreation: "ifMissing" | "never";
  readonly messages: MessageEngine;
  /** Without transactions. */
  readonly log: LogEngine;
  /** One key in each commit. */
  readonly keyValue: KeyValueEngine;
  /** What the server's settings mean, as they were when the engine connected. */
  readonly requirements: readonly Requirement[];
  /** Aborts when the engine was closed. An outage does not end it. */
  readonly ended: AbortSignal;
  /** Gives every lane back and closes the connection; takes a few seconds at most, also when the server does not answer. Idempotent. */
  close(): Promise<void>;
}

/**
 * Connects to NATS 2.9 or later and looks at its JetStream and the streams.
 *
 * `unavailable` when it cannot be reached, `denied` when it refuses the credentials, `not-found` when the streams are not there and may not be made, `conflict` when they are another version's or have settings
 * that would lose messages, `unsupported` when the server is too old or has no JetStream.
 */
export async function nats(options: NatsEngineOptions): Promise<NatsEngine> {
  if (typeof options?.connect !== "function" || typeof options.headers !== "function") {
    const text =
      "nats() needs options with connect, a function that answers a connection, and headers, both of @nats-io/transport-node";
    throw new TenonError("invalid", text);
  }
  const { connect, headers, prefix = "tenon", streams = "expect", replicas = 1, survives } = options;
  const { world = systemWorld(), commandTimeoutMs = 5_000, connectTimeoutMs = 10_000 } = options;
  const { topicCreation = "ifMissing" } = options;
  checkMs({ commandTimeoutMs, connectTimeoutMs });
  if (!(Number.isInteger(replicas) && replicas >= 1 && replicas <= 5)) {
    throw new TenonError("invalid", `replicas must be a whole number from 1 to 5, not ${replicas}`);
  }
  checkWord("streams", streams, ["make", "expect"]);
  checkWord("topicCreation", topicCreation, ["ifMissing", "never"]);
  if (survives !== undefined) checkWord("survives", survives, survivalLevels);
  return ConnectedEngine.open({
    link: { world, connect, headers, commandTimeoutMs: Math.ceil(commandTimeoutMs), connectTimeoutMs },
    streams: streamsOf(prefix),
    makeStreams: streams === "make",
    replicas,
    survives,
    topicCreation,
  });
}

interface EngineSettings {
  readonly link: LinkSettings;
  readonly streams: Streams;
  readonly makeStreams: boolean;
  readonly replicas: number;
  readonly survives: Survives | undefined;
  readonly topicCreation: NatsEngine["topicCreation"];
}

interface Opened {
  readonly link: NatsLink;
  readonly jetStream: JetStream;
  readonly survives: Survives;
  readonly requirements: readonly Requirement[];
  readonly payloadBytesMax: number;
}

/** Of what the server's `max_payload` allows, the condition's headers take less than this. */
const headersBytesMax = 512;
const settingUpPauseMs = 100;

class ConnectedEngine implements NatsEngine {
  readonly name = "nats";
  readonly world: World;
  readonly topicCreation: NatsEngine["topicCreation"];
  readonly messages: NatsMessages;
  readonly log: CheckedLog;
  readonly keyValue: NatsKeyValues;
  readonly requirements: readonly Requirement[];
  readonly #link: NatsLink;
  readonly #log: NatsLog;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  static async open(settings: EngineSettings): Promise<ConnectedEngine> {
    const link = new NatsLink(settings.link);
    const { world, connectTimeoutMs } = settings.link;
    const deadline = world.clock.monotonic() + connectTimeoutMs;
    try {
      await link.open();
      for (;;) {
        try {
          return new ConnectedEngine(settings, await setUp(settings, link));
        } catch (error) {
          // It changes nothing that it may not do again, and a server that has just started is slow.
          if (!isPassing(error) || world.clock.monotonic() + settingUpPauseMs >= deadline) throw error;
          await world.timers.sleep(settingUpPauseMs);
        }
      }
    } catch (error) {
      link.close();
      throw error;
    }
  }

  private constructor(settings: EngineSettings, opened: Opened) {
    const { streams } = settings;
    const { world } = settings.link;
    const { link, jetStream, survives, payloadBytesMax } = opened;
    this.world = world;
    this.topicCreation = settings.topicCreation;
    this.requirements = opened.requirements;
    this.#link = link;
    const clock = new ServerClock(world, () => stampOf(jetStream, streams, world));
    const parts = { world, link, jetStream, streams, clock, survives, payloadBytesMax };
    this.messages = new NatsMessages(parts);
    this.#log = new NatsLog(parts);
    this.log = new CheckedLog(this.#log, closed);
    this.keyValue = new NatsKeyValues(parts);
    for (const { setting, value, ok, meaning } of opened.requirements) {
      world.log.log(ok ? "debug" : "info", `NATS: ${setting} is ${value}`, { meaning });
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
    const reason = new TenonError("closed", "the NATS engine was closed");
    this.log.close();
    this.#log.close(reason);
    this.keyValue.close(reason);
    // In the same turn, so that a watch with this signal ends quietly.
    this.#ended.abort(reason);
    await this.messages.close();
    this.#link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function setUp(settings: EngineSettings, link: NatsLink): Promise<Opened> {
  const info = await link.ready();
  checkServer(info);
  const jetStream = new JetStream(link);
  const { prefix } = settings.streams;
  const { replicas, makeStreams: make } = settings;
  const streams = await openStreams(jetStream, settings.link.world, { prefix, replicas, make });
  const payloadBytesMax = info.max_payload - headersBytesMax;
  return { link, jetStream, ...stateOf(info, streams, settings.survives), payloadBytesMax };
}

/** Each reader of the clock has a subject of its own for the moment, so that it reads its own stamp. */
async function stampOf(jetStream: JetStream, streams: Streams, world: World): Promise<number> {
  const subject = `${streams.prefix}.s.c.${Math.floor(world.random.float() * 16)}`;
  for (;;) {
    const put = await jetStream.put("reading the server's clock", subject, Buffer.alloc(0));
    const stored = await jetStream.last("reading the server's clock", streams.state, subject);
    // Somebody else's comes later, which makes it no worse, but an earlier one would.
    if (stored !== undefined && stored.sequence >= put!) return stored.storedAt;
  }
}
