/** The suites on `remote()` over a network in memory, in simulated time: waiting takes none, and how late something is can be judged. */
import { describe, test } from "node:test";
import {
  type ConformanceCase,
  type ConformanceHost,
  coordinationCases,
  type RunningEngine,
  runCase,
} from "tenon/conformance";
import { type EmbeddedEngine, embedded, memory } from "tenon/embedded";
import { type RemoteEngine, remote, serve } from "tenon/remote";
import { type Simulation, simulatedWorld } from "tenon/simulation";
import type { World } from "tenon/world";
import { BreakableNetwork } from "./breakable-network.ts";
import { conformanceSuite } from "./conformance-suite.ts";
import { type MortalWorld, mortalWorld } from "./mortal-world.ts";

type Start = (simulation: Simulation, network: BreakableNetwork) => Promise<RunningEngine<RemoteEngine>>;

function simulated(start: Start) {
  return (each: ConformanceCase<EmbeddedEngine> | ConformanceCase<RemoteEngine>): ReturnType<typeof runCase> => {
    const simulation = simulatedWorld({ seed: 1 });
    return simulation.run(() => {
      const host: ConformanceHost<RemoteEngine> = {
        patienceMs: Number.POSITIVE_INFINITY,
        start: () => start(simulation, new BreakableNetwork(simulation.world.timers)),
      };
      return runCase(each as unknown as ConformanceCase<RemoteEngine>, host);
    });
  };
}

/** The client dies, its session ends, and another client comes. */
async function startMemory({ world }: Simulation, network: BreakableNetwork): Promise<RunningEngine<RemoteEngine>> {
  const engine = await memory({ world });
  const server = await serve(engine, { port: 0, world: { ...world, network: network.host("server") } });
  let count = 0;
  const start = async () => {
    const name = `client ${++count}`;
    const own: MortalWorld = mortalWorld({ ...world, network: network.host(name) });
    return { name, own, client: await remote(server.address, { world: own }) };
  };
  let running = await start();
  return {
    exactTime: true,
    get engine() {
      return running.client;
    },
    async crash() {
      network.kill(running.name);
      await running.own.die();
      running = await start();
    },
    async stop() {
      await running.client.close();
      await server.close();
      await engine.close();
    },
  };
}

/** The machine that holds both dies. */
async function startEmbedded(simulation: Simulation): Promise<RunningEngine<RemoteEngine>> {
  const start = async (world: World) => {
    const network = new BreakableNetwork(world.timers);
    const engine = await embedded({ directory: "/data", world });
    const server = await serve(engine, { port: 0, world: { ...world, network: network.host("server") } });
    const client = await remote(server.address, { world: { ...world, network: network.host("client") } });
    return { engine, server, client };
  };
  let running = await start(simulation.world);
  return {
    exactTime: true,
    get engine() {
      return running.client;
    },
    async crash() {
      simulation.crash();
      running = await start(simulation.restart());
    },
    async stop() {
      await running.client.close();
      await running.server.close();
      await running.engine.close();
    },
  };
}

conformanceSuite("remote() over memory() in simulated time", 1, simulated(startMemory));
describe("coordination on remote() over memory() in simulated time", () => {
  for (const each of coordinationCases) {
    test(each.name, async (context) => {
      const outcome = await simulated(startMemory)(each);
      if (outcome.outcome === "skipped") context.skip(outcome.reason);
    });
  }
});

// Over a real disk they run on loopback; here they take minutes.
if (process.env.TENON_SLOW === "1") {
  conformanceSuite("remote() over embedded() in simulated time", 1, simulated(startEmbedded));
}
