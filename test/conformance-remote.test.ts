import { after } from "node:test";
import { type ConformanceHost, runCase } from "tenon/conformance";
import { memory } from "tenon/embedded";
import { type RemoteEngine, remote, serve } from "tenon/remote";
import { conformanceSuite } from "./conformance-suite.ts";

const concurrency = 6;
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const host: ConformanceHost<RemoteEngine> = {
  async start() {
    const engine = await memory();
    const server = await serve(engine, { port: 0 });
    const client = await remote(server.address);
    return {
      engine: client,
      async stop() {
        await client.close();
        await server.close();
        await engine.close();
      },
    };
  },
};
conformanceSuite("remote() over memory()", concurrency, (each) => runCase(each as never, host));
