import { TenonError } from "../../../contracts/errors.ts";
import type { KeyValueEngine } from "../../../contracts/key-value.ts";
import type { LeaseEngine } from "../../../contracts/leases.ts";
import type { LogEngine } from "../../../contracts/log.ts";
import type { MessageEngine } from "../../../contracts/messages.ts";
import type { RateEngine } from "../../../contracts/rates.ts";
import type { World } from "../../../world/world.ts";
import type { Welcome } from "../wire/operations.ts";
import { addressOf, unreachable } from "./failures.ts";
import { Feeds } from "./feeds.ts";
import { Link, type LinkSettings } from "./link.ts";
import { RemoteKeyValues } from "./remote-key-values.ts";
import { RemoteLeases } from "./remote-leases.ts";
import { RemoteLog } from "./remote-log.ts";
import { RemoteMessages } from "./remote-messages.ts";
import { RemoteRates } from "./remote-rates.ts";

/** An engine that lives elsewhere; see docs/remote.md. */
export interface RemoteEngine extends AsyncDisposable {
  readonly name: "remote";
  /** Of the engine that is served, such as `embedded`. */
  readonly servedName: string;
  readonly world: World;
  /** What topics do that say nothing about it: as the served engine has it, unless `remote()` was told otherwise. */
  readonly topicCreation: "ifMissing" | "never";
  readonly messages: MessageEngine;
  readonly keyValue: KeyValueEngine;
  readonly leases: LeaseEngine;
  readonly rates: RateEngine;
  /** Asking for it throws `unsupported` when the engine that is served has no logs. */
  readonly log: LogEngine;
  /** Aborts when the engine was closed. An outage does not end it. */
  readonly ended: AbortSignal;
  /** Gives every lane back and closes the connection; takes a few seconds at most, also when the server does not answer. Idempotent. */
  close(): Promise<void>;
}

export interface EngineSettings extends LinkSettings {
  /** How long the first connection may take. */
  readonly connectTimeoutMs: number;
  readonly topicCreation: RemoteEngine["topicCreation"] | undefined;
}

export class ConnectedEngine implements RemoteEngine {
  readonly name = "remote";
  readonly servedName: string;
  readonly world: World;
  readonly topicCreation: RemoteEngine["topicCreation"];
  readonly messages: RemoteMessages;
  readonly keyValue: RemoteKeyValues;
  readonly leases: RemoteLeases;
  readonly rates: RemoteRates;
  readonly #log: RemoteLog | undefined;
  readonly #settings: EngineSettings;
  readonly #link: Link;
  readonly #feeds: Feeds;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  /** Resolves when the server has been reached. */
  static async open(settings: EngineSettings): Promise<ConnectedEngine> {
    const link = new Link(settings);
    try {
      return new ConnectedEngine(settings, link, await openedWithin(settings, link));
    } catch (error) {
      await link.close();
      throw error;
    }
  }

  private constructor(settings: EngineSettings, link: Link, { engine, topicCreation, capabilities }: Welcome) {
    const { world } = settings;
    this.#settings = settings;
    this.#link = link;
    this.#feeds = new Feeds(link, world);
    this.world = world;
    this.servedName = engine;
    this.topicCreation = settings.topicCreation ?? topicCreation;
    this.messages = new RemoteMessages(link, world, capabilities.messages);
    this.keyValue = new RemoteKeyValues(link, this.#feeds, capabilities.keyValue);
    this.leases = new RemoteLeases(link, this.#feeds, world, capabilities.leases);
    this.rates = new RemoteRates(link, capabilities.rates);
    if (capabilities.log !== undefined) this.#log = new RemoteLog(link, world, capabilities.log);
  }

  get log(): LogEngine {
    if (this.#log !== undefined) return this.#log;
    const text = `the engine at ${addressOf(this.#settings.address)} (${this.servedName}) has no logs; serve one that has, such as embedded()`;
    throw new TenonError("unsupported", text);
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const reason = new TenonError("closed", `the remote engine at ${addressOf(this.#settings.address)} was closed`);
    this.keyValue.close(reason);
    this.leases.close(reason);
    this.rates.close(reason);
    this.#log?.close(reason);
    // In the same turn, so that a watch with this signal ends quietly.
    this.#ended.abort(reason);
    this.#feeds.close(reason);
    await this.messages.close(reason);
    await this.#link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function openedWithin({ world, address, connectTimeoutMs }: EngineSettings, link: Link): Promise<Welcome> {
  const { promise, reject } = Promise.withResolvers<never>();
  const cancel = world.timers.schedule(
    connectTimeoutMs,
    () => reject(unreachable("the first request", address, connectTimeoutMs, link.trouble)),
    { keepsAlive: true },
  );
  try {
    return await Promise.race([link.opened, promise]);
  } finally {
    cancel();
  }
}
