import { after, describe, test } from "node:test";
import { type ConformanceCase, coordinationCases, keyValueCases, leaseCases, runCase } from "tenon/conformance";
import type { EtcdEngine } from "tenon/etcd";
import { engine } from "./engines.ts";
import { etcdHost } from "./etcd-host.ts";

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 4;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const suites: Readonly<Record<string, readonly ConformanceCase<EtcdEngine>[]>> = {
  "key-values": keyValueCases,
  leases: leaseCases,
  coordination: coordinationCases,
};

const server = await engine("etcd");

for (const [contract, cases] of Object.entries(suites)) {
  const host = etcdHost(server.url);
  describe(`${contract} on etcd`, { concurrency, skip: server.skip }, () => {
    for (const each of cases) {
      test(each.name, async (context) => {
        const outcome = await runCase(each, host);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}
