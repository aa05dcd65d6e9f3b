/** A served engine, and clients of it, over a network that can be broken, in simulated time. */
import { test } from "node:test";
import { type EmbeddedEngine, memory } from "tenon/embedded";
import { type EngineServer, type RemoteEngine, type RemoteOptions, remote, serve } from "tenon/remote";
import { type Simulation, simulatedWorld } from "tenon/simulation";
import type { World } from "tenon/world";
import { BreakableNetwork } from "./breakable-network.ts";
import { type MortalWorld, mortalWorld } from "./mortal-world.ts";

const port = 7_070;

export interface Client {
  readonly name: string;
  readonly engine: RemoteEngine;
  /** Ends without a goodbye; its connections break. */
  die(): Promise<void>;
}

export class Stage {
  readonly simulation: Simulation;
  readonly world: World;
  readonly network: BreakableNetwork;
  engine: EmbeddedEngine;
  server: EngineServer;
  readonly #clients: RemoteEngine[] = [];

  static async open(simulation: Simulation): Promise<Stage> {
    const { world } = simulation;
    const network = new BreakableNetwork(world.timers);
    const engine = await memory({ world });
    return new Stage(simulation, network, engine, await serveAt(network, world, engine));
  }

  private constructor(simulation: Simulation, network: BreakableNetwork, engine: EmbeddedEngine, server: EngineServer) {
    this.simulation = simulation;
    this.world = simulation.world;
    this.network = network;
    this.engine = engine;
    this.server = server;
  }

  async client(name = "client", options: RemoteOptions = {}): Promise<Client> {
    const world: MortalWorld = mortalWorld({ ...this.world, network: this.network.host(name) });
    const engine = await remote({ host: "server", port }, { ...options, world });
    this.#clients.push(engine);
    return {
      name,
      engine,
      die: async () => {
        this.network.kill(name);
        this.#clients.splice(this.#clients.indexOf(engine), 1);
        await world.die();
      },
    };
  }

  sleep(ms: number): Promise<void> {
    return this.world.timers.sleep(ms);
  }

  /** Loses what is on its way to the host, after it has had the time to be. */
  async loseWhatGoesTo(host: string): Promise<void> {
    await this.sleep(20);
    this.network.cut();
    this.network.release();
    await this.sleep(0);
    if (this.network.isHeld(host)) throw new Error(`${host} is still held`);
  }

  /** Its clients have heard of it afterwards. */
  async stopServer(): Promise<void> {
    await this.server.close();
    await this.sleep(10);
  }

  /** The server's process is restarted: with the engine that it had, or with another one that knows nothing. */
  async restartServer(state: "kept" | "lost"): Promise<void> {
    await this.stopServer();
    if (state === "lost") {
      await this.engine.close();
      this.engine = await memory({ world: this.world });
    }
    this.server = await serveAt(this.network, this.world, this.engine);
  }

  async close(): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.server.close();
    await this.engine.close();
  }
}

function serveAt(network: BreakableNetwork, world: World, engine: EmbeddedEngine): Promise<EngineServer> {
  return serve(engine, { host: "server", port, world: { ...world, network: network.host("server") } });
}

export function onStage(name: string, play: (stage: Stage) => Promise<void>, seed = 1): void {
  test(name, async () => {
    const simulation = simulatedWorld({ seed });
    await simulation.run(async () => {
      const stage = await Stage.open(simulation);
      await play(stage);
      await stage.close();
    });
  });
}
