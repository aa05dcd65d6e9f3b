/** The lease suite on five independent Redis servers: all of them up, and with one that was killed and one that hangs. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ConformanceHost, leaseCases, runCase } from "tenon/conformance";
import type { RedisQuorum } from "tenon/redis";
import { engine } from "./engines.ts";
import { foundPrefix, quorumHost } from "./redis-quorum-host.ts";
import { type RedisServer, redisServerMissing, startRedis } from "./redis-server.ts";

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 6;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

function cases(host: ConformanceHost<RedisQuorum>): void {
  for (const each of leaseCases) {
    test(each.name, async (context) => {
      const outcome = await runCase(each, host);
      if (outcome.outcome === "skipped") context.skip(outcome.reason);
    });
  }
}

const { urls, skip } = await engine("redis-quorum");

describe("leases on a quorum of five Redis servers", { concurrency, skip }, () => {
  cases(quorumHost(urls, urls, () => foundPrefix(urls)));
});

describe("leases on a quorum of which one server is dead and one hangs", {
  concurrency,
  skip: redisServerMissing,
}, () => {
  const servers: RedisServer[] = [];
  const all: string[] = [];
  const reachable: string[] = [];
  const prefixes: string[] = [];

  before(async () => {
    for (let index = 0; index < 5; index++) servers.push(await startRedis());
    all.push(...servers.map(({ url }) => url));
    reachable.push(...all.slice(0, 3));
    // A quorum is founded when all of its servers are there.
    for (const _ of leaseCases) prefixes.push(await foundPrefix(all));
    await servers[3]!.stop();
    servers[4]!.pause();
  });

  after(async () => {
    for (const server of servers) {
      server.resume();
      await server.dispose();
    }
  });

  const nextPrefix = async () => {
    const prefix = prefixes.pop();
    assert.ok(prefix !== undefined);
    return prefix;
  };
  cases(quorumHost(all, reachable, nextPrefix));
});
