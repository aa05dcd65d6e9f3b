import { after, describe, test } from "node:test";
import { logCases, runCase } from "tenon/conformance";
import { engine } from "./engines.ts";
import { redisHost } from "./redis-host.ts";
import { ioredisClusterFlavour, ioredisFlavour, nodeRedisFlavour, type RedisFlavour } from "./redis-messages-host.ts";

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 6;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

function suite(skip: string | false, flavour: RedisFlavour): void {
  const host = redisHost(flavour);
  describe(`logs on Redis: ${flavour.name}`, { concurrency, skip }, () => {
    for (const each of logCases) {
      test(each.name, async (context) => {
        const outcome = await runCase(each, host);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}

const single = await engine("redis");
const cluster = await engine("redis-cluster");

suite(single.skip, ioredisFlavour(single.url));
suite(single.skip, nodeRedisFlavour(single.url));
suite(cluster.skip, ioredisClusterFlavour(cluster.urls));
