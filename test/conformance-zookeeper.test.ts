import { after, describe, test } from "node:test";
import { type ConformanceCase, coordinationCases, leaseCases, runCase } from "tenon/conformance";
import type { ZookeeperEngine } from "tenon/zookeeper";
import { engine } from "./engines.ts";
import { zookeeperHost } from "./zookeeper-host.ts";

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 4;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const suites: Readonly<Record<string, readonly ConformanceCase<ZookeeperEngine>[]>> = {
  leases: leaseCases,
  coordination: coordinationCases,
};

const server = await engine("zookeeper");

for (const [contract, cases] of Object.entries(suites)) {
  const host = zookeeperHost(server.url);
  describe(`${contract} on ZooKeeper`, { concurrency, skip: server.skip }, () => {
    for (const each of cases) {
      test(each.name, async (context) => {
        const outcome = await runCase(each, host);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}
