import { after } from "node:test";
import { redisServerMissing } from "../redis-server.ts";
import { closing } from "./closing.ts";
import { clientNames, redisSite } from "./run.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

closing(
  "Redis",
  redisServerMissing,
  Object.fromEntries(clientNames.map((client) => [client, () => redisSite(client)])),
);
