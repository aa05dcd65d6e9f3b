/** The suites on `remote()`: over loopback in real time, and over a network in memory in simulated time, where waiting takes none. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { type ConformanceCase, type ConformanceHost, type RunningEngine, runCase } from "tenon/conformance";
import { type EmbeddedEngine, embedded, memory } from "tenon/embedded";
import { type RemoteEngine, remote, serve } from "tenon/remote";
import { type Simulation, simulatedWorld } from "tenon/simulation";
import { systemWorld, type World } from "tenon/world";
import { BreakableNetwork } from "./breakable-network.ts";
import { conformanceSuite } from "./conformance-suite.ts";
import { type MortalWorld, mortalWorld } from "./mortal-world.ts";

type Host = ConformanceHost<RemoteEngine>;

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 6;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

/** The client dies and another one comes; the server's end and its successor's begin stand for the end of its members' sessions. */
const loopbackMemory: Host = {
  async start() {
    const engine = await memory();
    let server = await serve(engine, { port: 0 });
    let client = await remote(server.address);
    return {
      get engine() {
        return client;
      },
      async crash() {
        await server.close();
        server = await serve(engine, { port: 0 });
        client = await remote(server.address);
      },
      async stop() {
        await client.close();
        await server.close();
        await engine.close();
      },
    };
  },
};

/** The server's process dies, and comes back with what was durable. */
const loopbackDisk: Host = {
  async start() {
    const directory = await mkdtemp(join(tmpdir(), "tenon-remote-"));
    const start = async () => {
      const world = mortalWorld(systemWorld());
      const engine = await embedded({ directory, world });
      const server = await serve(engine, { port: 0, world: systemWorld() });
      return { world, engine, server, client: await remote(server.address) };
    };
    let running = await start();
    return {
      get engine() {
        return running.client;
      },
      async crash() {
        const { world, server } = running;
        await world.die();
        await server.close();
        running = await start();
      },
      async stop() {
        await running.client.close();
        await running.server.close();
        await running.engine.close();
        await rm(directory, { recursive: true });
      },
    };
  },
};

function run(host: Host): (each: ConformanceCase<EmbeddedEngine>) => ReturnType<typeof runCase> {
  return (each) => runCase(each as unknown as ConformanceCase<RemoteEngine>, host);
}

conformanceSuite("remote() over memory() on loopback", concurrency, run(loopbackMemory));
conformanceSuite("remote() over embedded() on a real disk, on loopback", concurrency, run(loopbackDisk));

type Start = (simulation: Simulation, network: BreakableNetwork) => Promise<RunningEngine<RemoteEngine>>;

function simulated(start: Start): (each: ConformanceCase<EmbeddedEngine>) => ReturnType<typeof runCase> {
  return (each) => {
    const simulation = simulatedWorld({ seed: 1 });
    return simulation.run(() => {
      const host: Host = {
        patienceMs: Number.POSITIVE_INFINITY,
        start: () => start(simulation, new BreakableNetwork(simulation.world.timers)),
      };
      return run(host)(each);
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
conformanceSuite("remote() over embedded() in simulated time", 1, simulated(startEmbedded));
