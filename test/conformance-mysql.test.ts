import { after, describe, test } from "node:test";
import {
  type ConformanceCase,
  coordinationCases,
  keyValueCases,
  leaseCases,
  rateCases,
  runCase,
} from "tenon/conformance";
import type { MysqlEngine } from "tenon/mysql";
import { engine } from "./engines.ts";
import { mysqlHost } from "./mysql-host.ts";

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 4;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const suites: Readonly<Record<string, readonly ConformanceCase<MysqlEngine>[]>> = {
  "key-values": keyValueCases,
  leases: leaseCases,
  coordination: coordinationCases,
  rates: rateCases,
};

const server = await engine("mariadb");

for (const [contract, cases] of Object.entries(suites)) {
  const host = mysqlHost(server.url);
  describe(`${contract} on MariaDB`, { concurrency, skip: server.skip }, () => {
    for (const each of cases) {
      test(each.name, async (context) => {
        const outcome = await runCase(each, host);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}
