import { TenonError } from "../../contracts/errors.ts";
import type { KeyValueEngine } from "../../contracts/key-value.ts";
import type { LeaseEngine } from "../../contracts/leases.ts";
import type { World } from "../../world/world.ts";
import { type ConnectionSettings, EtcdConnection } from "./connection.ts";
import { EtcdKeyValues } from "./key-values/etcd-key-values.ts";
import { EtcdLeases } from "./leases/etcd-leases.ts";
import { type Expected, type Requirement, readRequirements, type ServerState } from "./requirements.ts";

/** etcd as an engine; see docs/etcd.md. */
export interface EtcdEngine extends AsyncDisposable {
  readonly name: "etcd";
  readonly world: World;
  readonly keyValue: KeyValueEngine;
  readonly leases: LeaseEngine;
  /** What the server is, as it was when the engine connected. */
  readonly requirements: readonly Requirement[];
  /** Aborts when the engine was closed. An outage does not end it. */
  readonly ended: AbortSignal;
  /** Ends its watches and its waits; takes a few seconds at most, also when the server does not answer. Idempotent. */
  close(): Promise<void>;
}

export interface EngineSettings {
  readonly connection: ConnectionSettings;
  readonly expected: Expected;
}

export class ConnectedEngine implements EtcdEngine {
  readonly name = "etcd";
  readonly world: World;
  readonly keyValue: EtcdKeyValues;
  readonly leases: EtcdLeases;
  readonly requirements: readonly Requirement[];
  readonly #connection: EtcdConnection;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  static async open(settings: EngineSettings): Promise<ConnectedEngine> {
    const connection = new EtcdConnection(settings.connection);
    const state = await connection.open(() => readRequirements(connection, settings.expected));
    return new ConnectedEngine(settings, connection, state);
  }

  private constructor(
    { connection: { world }, expected }: EngineSettings,
    connection: EtcdConnection,
    state: ServerState,
  ) {
    const { survives, requirements, leaseMsMin } = state;
    const { prefix, operationsMax, requestBytesMax } = expected;
    this.world = world;
    this.requirements = requirements;
    this.#connection = connection;
    this.keyValue = new EtcdKeyValues(connection, { world, prefix, survives, operationsMax, requestBytesMax });
    this.leases = new EtcdLeases(connection, { world, prefix, survives, leaseMsMin, operationsMax });
    for (const { setting, value, ok, meaning } of requirements) {
      world.log.log(ok ? "debug" : "info", `etcd: ${setting} is ${value}`, { meaning });
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
    const reason = new TenonError("closed", "the etcd engine was closed");
    this.keyValue.close(reason);
    const leases = this.leases.close(reason);
    // In the same turn, so that a watch with this signal ends quietly.
    this.#ended.abort(reason);
    await leases;
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
