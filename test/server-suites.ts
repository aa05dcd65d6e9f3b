import { after, describe, test } from "node:test";
import { type ConformanceCase, type ConformanceHost, runCase } from "tenon/conformance";

export interface ServerSuites<Engine> {
  /** What people call the server. */
  readonly server: string;
  readonly skip: string | false;
  readonly host: ConformanceHost<Engine>;
  /** By the contract. */
  readonly suites: Readonly<Record<string, readonly ConformanceCase<Engine>[]>>;
}

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 4;

/** Every case of suites on an engine over a real server as a test; a skipped one says why. */
export function serverSuites<Engine>({ server, skip, host, suites }: ServerSuites<Engine>): void {
  keepAlive();
  for (const [contract, cases] of Object.entries(suites)) {
    describe(`${contract} on ${server}`, { concurrency, skip }, () => {
      for (const each of cases) {
        test(each.name, async (context) => {
          const outcome = await runCase(each, host);
          if (outcome.outcome === "skipped") context.skip(outcome.reason);
        });
      }
    });
  }
}

/** The timers of an engine do not keep the process alive while a test waits for one. */
export function keepAlive(): void {
  const timer = setInterval(() => undefined, 60_000);
  after(() => clearInterval(timer));
}
