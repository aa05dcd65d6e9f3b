import { runScenarios, type Scenario } from "./harness.ts";
import type { BenchmarkOptions } from "./options.ts";
import type { PeerSpecification } from "./peer.ts";
import { environmentOf, printMissing, printRows, printVerdicts, writeJson } from "./report.ts";
import { judgeRatio, type RequiredRatio } from "./requirements.ts";
import { Scratch } from "./scratch.ts";

const TYPES = ["fixedWindow", "slidingWindow", "slidingLog", "leakyBucket", "tokenBucket"] as const;
const FLEXIBLE = "rate-limiter-flexible, memory";
const KEYS = [1, 10_000];
const own = (type: (typeof TYPES)[number]) => `tenon ${type}, memory`;
const deciding = (keys: number) =>
  keys === 1 ? "decisions, 1 key" : `decisions, ${keys.toLocaleString("en-US")} keys`;

/** Half its time per decision, or less. */
const REQUIRED: readonly RequiredRatio[] = KEYS.flatMap((keys) =>
  TYPES.map((type) => ({ scenario: deciding(keys), ours: own(type), theirs: FLEXIBLE, atLeast: 2 })),
);

export async function limiters({ rounds, quick, jsonPath }: BenchmarkOptions): Promise<number> {
  const scratch = new Scratch();
  const options = { directory: scratch.directory, survives: "nothing", backlog: 0 } as const;
  const specifications: readonly PeerSpecification[] = [
    { name: FLEXIBLE, module: "rate-limiter-flexible", options },
    ...TYPES.map((type) => ({ name: own(type), module: "tenon-limiter", options: { ...options, limiter: type } })),
  ];
  const durationMs = quick ? 100 : 300;
  const scenarios = KEYS.map(
    (keys): Scenario => ({
      name: deciding(keys),
      call: { method: "decide", keys, durationMs },
      peers: specifications.map(({ name }) => name),
    }),
  );
  const comparison = { floor: FLEXIBLE, ours: "tenon" };
  const measured = await runScenarios(scenarios, specifications, rounds, (rows) => printRows(rows, comparison));
  printMissing(measured.missing);
  const verdicts = REQUIRED.map((required) => judgeRatio(required, measured.rows));
  const holds = printVerdicts(verdicts);
  const environment = await environmentOf(scratch.directory);
  await writeJson("limiters", jsonPath, { environment, rounds, quick, ...measured, verdicts });
  return holds && measured.missing.length === 0 ? 0 : 1;
}
