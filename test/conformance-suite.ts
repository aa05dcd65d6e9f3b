import { describe, test } from "node:test";
import {
  type ConformanceCase,
  keyValueCases,
  leaseCases,
  logCases,
  messageCases,
  rateCases,
  type runCase,
} from "tenon/conformance";
import type { EmbeddedEngine } from "tenon/embedded";

/** Every case as a test, `concurrency` of them at once; a skipped one says why. */
export function conformanceSuite(
  name: string,
  concurrency: number,
  run: (each: ConformanceCase<EmbeddedEngine>) => ReturnType<typeof runCase>,
): void {
  const cases: readonly ConformanceCase<EmbeddedEngine>[] = [
    ...messageCases,
    ...named("key-values", keyValueCases),
    ...named("leases", leaseCases),
    ...named("logs", logCases),
    ...named("rates", rateCases),
  ];
  describe(name, { concurrency }, () => {
    for (const each of cases) {
      test(each.name, async (context) => {
        const outcome = await run(each);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}

function named<Engine>(contract: string, cases: readonly ConformanceCase<Engine>[]): ConformanceCase<Engine>[] {
  return cases.map((each) => ({ ...each, name: `${contract}: ${each.name}` }));
}
