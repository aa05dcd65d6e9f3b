import { after } from "node:test";
import { engine } from "../engines.ts";
import { serverOf } from "../kafka-host.ts";
import { closing } from "./closing.ts";
import { kafkaSite } from "./kafka-site.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await engine("kafka");

closing("Kafka", server.skip, { "@platformatic/kafka": () => kafkaSite(serverOf(server.url)) });
