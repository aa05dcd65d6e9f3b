import { after, describe, test } from "node:test";
import {
  type ConformanceCase,
  coordinationCases,
  keyValueCases,
  leaseCases,
  rateCases,
  runCase,
} from "tenon/conformance";
import type { PostgresEngine } from "tenon/postgres";
import { engine } from "./engines.ts";
import { postgresHost } from "./postgres-host.ts";

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 4;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const suites: Readonly<Record<string, readonly ConformanceCase<PostgresEngine>[]>> = {
  "key-values": keyValueCases,
  leases: leaseCases,
  coordination: coordinationCases,
  rates: rateCases,
};

const server = await engine("postgres");

for (const [contract, cases] of Object.entries(suites)) {
  const host = postgresHost(server.url);
  describe(`${contract} on PostgreSQL`, { concurrency, skip: server.skip }, () => {
    for (const each of cases) {
      test(each.name, async (context) => {
        const outcome = await runCase(each, host);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}
