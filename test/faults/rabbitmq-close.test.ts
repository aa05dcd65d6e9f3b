import { after } from "node:test";
import { engine } from "../engines.ts";
import { closing } from "./closing.ts";
import { rabbitmqSite } from "./rabbitmq-site.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await engine("rabbitmq");

closing("RabbitMQ", server.skip, { amqplib: () => rabbitmqSite(server.url, { closesRest: true }) });
