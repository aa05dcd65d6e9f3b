/** The embedded engine, served to the other processes until this one is told to stop. */
import { embedded } from "tenon/embedded";
import { serve } from "tenon/remote";
import { stopped, tell } from "./reports.ts";

const [directory] = process.argv.slice(2);
const stop = stopped();
const engine = await embedded({ directory: directory! });
const server = await serve(engine, { port: 0 });
await tell({ did: "ready", address: server.address });
await stop;
await server.close();
await engine.close();
process.exit(0);
