import { runScenarios, type Scenario } from "./harness.ts";
import type { BenchmarkOptions } from "./options.ts";
import type { PeerSpecification, Survives } from "./peer.ts";
import { environmentOf, printMissing, printRows, printVerdicts, writeJson } from "./report.ts";
import { judgeRatio, type RequiredRatio } from "./requirements.ts";
import { Scratch } from "./scratch.ts";

const FLOOR = "floor";
const JOURNAL = "tenon's journal";
const IN_FLIGHT = [1, 64, 1_024, 8_192];
const appending = (inFlight: number) => `append 200 bytes, ${inFlight.toLocaleString("en-US")} waiting`;

const REQUIRED: readonly RequiredRatio[] = [
  { scenario: appending(1_024), ours: `${JOURNAL}, fdatasync`, theirs: `${FLOOR}, fdatasync`, atLeast: 0.5 },
];

export async function journal({ rounds, quick, jsonPath }: BenchmarkOptions): Promise<number> {
  const scratch = new Scratch();
  const specify = async (name: string, module: string, survives: Survives): Promise<PeerSpecification> => {
    return { name, module, options: { directory: await scratch.make(name), survives, backlog: 0 } };
  };
  const specifications = [
    await specify(`${FLOOR}, fdatasync`, "floor", "machine"),
    await specify(`${JOURNAL}, fdatasync`, "tenon-journal", "machine"),
    await specify(`${FLOOR}, no fdatasync`, "floor", "process"),
    await specify(`${JOURNAL}, no fdatasync`, "tenon-journal", "process"),
  ];
  const peers = specifications.map(({ name }) => name);
  const durationMs = quick ? 300 : 1_000;
  const scenarios = IN_FLIGHT.map(
    (inFlight): Scenario => ({ name: appending(inFlight), call: { method: "publish", inFlight, durationMs }, peers }),
  );
  const comparison = { floor: FLOOR, ours: "tenon" };
  const measured = await runScenarios(scenarios, specifications, rounds, (rows) => printRows(rows, comparison));
  printMissing(measured.missing);
  const verdicts = REQUIRED.map((required) => judgeRatio(required, measured.rows));
  const holds = printVerdicts(verdicts);
  const environment = await environmentOf(scratch.directory);
  await writeJson("journal", jsonPath, { environment, rounds, quick, ...measured, verdicts });
  return holds && measured.missing.length === 0 ? 0 : 1;
}
