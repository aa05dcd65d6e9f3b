import { after, describe, test } from "node:test";
import { messageCases, runCase } from "tenon/conformance";
import { engine } from "./engines.ts";
import { rabbitmqHost } from "./rabbitmq-host.ts";

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 4;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await engine("rabbitmq");
const host = rabbitmqHost(server.url);

describe("messages on RabbitMQ", { concurrency, skip: server.skip }, () => {
  for (const each of messageCases) {
    test(each.name, async (context) => {
      const outcome = await runCase(each, host);
      if (outcome.outcome === "skipped") context.skip(outcome.reason);
    });
  }
});
