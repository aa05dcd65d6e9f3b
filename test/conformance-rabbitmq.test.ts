import { after, describe, test } from "node:test";
import { type ConformanceHost, type MessagesEngine, messageCases, runCase } from "tenon/conformance";
import { altered } from "../src/conformance/messages/fixtures.ts";
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

/** As if the engine declared to refuse commits under a superseded grant. */
const fencing: ConformanceHost<MessagesEngine> = {
  async start() {
    const subject = await host.start();
    return {
      get engine(): MessagesEngine {
        const { messages, world } = subject.engine;
        const capabilities = { ...messages.capabilities, fence: true };
        return { messages: altered(messages, { capabilities }), world, close: () => subject.engine.close() };
      },
      crash: subject.crash,
      stop: () => subject.stop(),
    };
  },
};

// It is not declared because a cluster whose nodes lose each other could not keep it, which one node cannot show.
describe("the fence of lanes on one node of RabbitMQ", { concurrency, skip: server.skip }, async () => {
  const [declared, stated] = server.skip ? [] : await Promise.all([host.start(), fencing.start()]);
  const names = messageCases.filter(({ needs }) => {
    return declared && needs?.(declared) === "the engine declares no fence" && needs(stated!) === true;
  });
  await Promise.all([declared?.stop(), stated?.stop()]);
  for (const each of names) test(each.name, async () => void (await runCase(each, fencing)));
});
