import { after, describe, test } from "node:test";
import { messageCases, runCase } from "tenon/conformance";
import { engine } from "./engines.ts";
import {
  ioredisClusterFlavour,
  ioredisFlavour,
  nodeRedisFlavour,
  type RedisFlavour,
  redisMessagesHost,
} from "./redis-messages-host.ts";

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 6;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

function suite(name: string, skip: string | false, flavour: RedisFlavour): void {
  const host = redisMessagesHost(flavour);
  describe(`messages on Redis: ${name}`, { concurrency, skip }, () => {
    for (const each of messageCases) {
      test(each.name, async (context) => {
        const outcome = await runCase(each, host);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}

const single = await engine("redis");
const cluster = await engine("redis-cluster");

suite("ioredis", single.skip, ioredisFlavour(single.url));
suite("node-redis", single.skip, nodeRedisFlavour(single.url));
suite("ioredis on a cluster", cluster.skip, ioredisClusterFlavour(cluster.urls));
