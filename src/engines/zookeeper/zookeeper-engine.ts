import { TenonError } from "../../contracts/errors.ts";
import type { LeaseEngine } from "../../contracts/leases.ts";
import type { World } from "../../world/world.ts";
import { type ConnectionSettings, ZookeeperConnection } from "./connection.ts";
import { ZookeeperLeases } from "./leases/zookeeper-leases.ts";
import { Nodes } from "./nodes.ts";
import type { ZookeeperAcl } from "./protocol.ts";
import { type Requirement, readRequirements, type ServerState, type Survives } from "./requirements.ts";

/** ZooKeeper as an engine; see docs/zookeeper.md. */
export interface ZookeeperEngine extends AsyncDisposable {
  readonly name: "zookeeper";
  readonly world: World;
  readonly leases: LeaseEngine;
  /** What the ensemble is, as it was when the engine connected. */
  readonly requirements: readonly Requirement[];
  /** Aborts when the engine was closed. An outage does not end it. */
  readonly ended: AbortSignal;
  /** Ends its watches and its waits; takes a few seconds at most, also when the server does not answer. Idempotent. */
  close(): Promise<void>;
}

export interface EngineSettings {
  readonly connection: ConnectionSettings;
  readonly root: string;
  readonly nodes: "make" | "expect";
  readonly acls: readonly ZookeeperAcl[];
  readonly survives: Survives | undefined;
}

export class ConnectedEngine implements ZookeeperEngine {
  readonly name = "zookeeper";
  readonly world: World;
  readonly leases: ZookeeperLeases;
  readonly requirements: readonly Requirement[];
  readonly #connection: ZookeeperConnection;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  static async open(settings: EngineSettings): Promise<ConnectedEngine> {
    const connection = new ZookeeperConnection(settings.connection);
    const nodes = new Nodes(settings.root);
    const state = await connection.open(async () => {
      const read = await readRequirements(connection, settings.survives);
      if (settings.nodes === "make") await nodes.make(connection, settings.acls);
      await nodes.check(connection);
      return read;
    });
    return new ConnectedEngine(settings, connection, nodes, state);
  }

  private constructor(settings: EngineSettings, connection: ZookeeperConnection, nodes: Nodes, state: ServerState) {
    const { world } = settings.connection;
    const { survives, requirements } = state;
    this.world = world;
    this.requirements = requirements;
    this.#connection = connection;
    this.leases = new ZookeeperLeases(connection, { world, nodes, acls: settings.acls, survives });
    for (const { setting, value, ok, meaning } of requirements) {
      world.log.log(ok ? "debug" : "info", `ZooKeeper: ${setting} is ${value}`, { meaning });
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
    const reason = new TenonError("closed", "the ZooKeeper engine was closed");
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
