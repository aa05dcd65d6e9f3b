/** The suites on `remote()` over loopback, in real time. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { type ConformanceCase, type ConformanceHost, runCase } from "tenon/conformance";
import { type EmbeddedEngine, embedded, memory } from "tenon/embedded";
import { type RemoteEngine, remote, serve } from "tenon/remote";
import { systemWorld } from "tenon/world";
import { conformanceSuite } from "./conformance-suite.ts";
import { mortalWorld } from "./mortal-world.ts";

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
    const start = async () => {
      const world = mortalWorld(systemWorld());
      const server = await serve(engine, { port: 0 });
      return { world, server, client: await remote(server.address, { world }) };
    };
    let running = await start();
    return {
      get engine() {
        return running.client;
      },
      async crash() {
        await running.world.die();
        await running.server.close();
        running = await start();
      },
      async stop() {
        await running.client.close();
        await running.server.close();
        await engine.close();
      },
    };
  },
};

/** A machine dies that holds both, and comes back with what was durable. */
const loopbackDisk: Host = {
  async start() {
    const directory = await mkdtemp(join(tmpdir(), "tenon-remote-"));
    const start = async () => {
      const world = mortalWorld(systemWorld());
      const engine = await embedded({ directory, world });
      const server = await serve(engine, { port: 0, world: systemWorld() });
      const client = await remote(server.address, { world });
      return { world, engine, server, client };
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
