import { after, describe, test } from "node:test";
import { Redis } from "ioredis";
import { createCluster } from "redis";
import { keyValueCases, runCase } from "tenon/conformance";
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
  describe(`key-values on Redis: ${flavour.name}`, { concurrency, skip }, () => {
    for (const each of keyValueCases) {
      test(each.name, async (context) => {
        const outcome = await runCase(each, host);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}

const single = await engine("redis");
const cluster = await engine("redis-cluster");
const sentinel = await engine("redis-sentinel");

const nodeRedisClusterFlavour: RedisFlavour = {
  name: "node-redis on a cluster",
  connect: () => createCluster({ rootNodes: cluster.urls.map((url) => ({ url })) }),
  nodes: async () => cluster.urls.map((url) => new Redis(url)),
};

/** The primary, wherever the sentinels say that it is. */
const sentinelFlavour: RedisFlavour = {
  name: "ioredis through Sentinel",
  connect: () => throughSentinel(),
  nodes: async () => [throughSentinel()],
};

function throughSentinel(): Redis {
  const sentinels = sentinel.urls
    .map((url) => new URL(url))
    .map(({ hostname, port }) => ({ host: hostname, port: Number(port) }));
  const client = new Redis({ sentinels, name: sentinel.primaryName, autoResendUnfulfilledCommands: false });
  return client.on("error", () => undefined);
}

suite(single.skip, ioredisFlavour(single.url));
suite(single.skip, nodeRedisFlavour(single.url));
suite(cluster.skip, ioredisClusterFlavour(cluster.urls));
suite(sentinel.skip, sentinelFlavour);
suite(cluster.skip, nodeRedisClusterFlavour);
