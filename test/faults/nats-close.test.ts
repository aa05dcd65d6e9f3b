import { after } from "node:test";
import { natsServerMissing } from "../nats-server.ts";
import { closing } from "./closing.ts";
import { natsSite } from "./nats-site.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

closing("NATS", natsServerMissing, { "transport-node": () => natsSite() });
