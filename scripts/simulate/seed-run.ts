import { closeSync, openSync, writeSync } from "node:fs";
import { inspect } from "node:util";
import {
  type SimulateOptions,
  SimulationFailure,
  type SimulationReport,
  simulate,
  type TraceLine,
} from "../../src/simulation/index.ts";
import { outsideWorlds } from "../../src/world/ambient.ts";
import type { ScenarioDefinition } from "../../test/simulation/scenario.ts";
import type { FaultWord } from "./options.ts";
import { isSameFailure, type SeedFailure, type SeedJob, type SeedOutcome } from "./seed-job.ts";
import { lineOf } from "./trace-file.ts";

/** How many lines of a run are kept to be compared with those of its second run; later ones are compared by their hash alone. */
const COMPARED_LINES_MAX = 2_000_000;

/** Runs one seed, twice where it is asked for. Whatever goes wrong is part of the outcome. */
export async function runSeed(scenario: ScenarioDefinition, job: SeedJob): Promise<SeedOutcome> {
  if (!job.twice) return withTraceFile(job, (trace) => runOnce(scenario, job, trace));
  const lines: TraceLine[] = [];
  const first = await runOnce(scenario, job, (line) => {
    if (lines.length < COMPARED_LINES_MAX) lines.push(line);
  });
  let index = 0;
  let difference: string | undefined;
  const second = await runOnce(scenario, job, (line) => {
    const before = lines[index];
    index += 1;
    if (difference === undefined && index <= COMPARED_LINES_MAX && !isSameLine(before, line)) {
      difference = `line ${index}: first "${shown(before)}", then "${shown(line)}"`;
    }
  });
  if (difference === undefined && index < lines.length) {
    difference = `line ${index + 1}: first "${shown(lines[index])}", then "${shown(undefined)}"`;
  }
  if (difference === undefined && first.hash === second.hash && endedAlike(first, second)) return first;
  return { ...first, failure: nonDeterminism(first, second, difference) };
}

async function runOnce(
  scenario: ScenarioDefinition,
  job: SeedJob,
  trace: ((line: TraceLine) => void) | undefined,
): Promise<SeedOutcome> {
  const options: SimulateOptions = {
    ...scenario.options,
    seed: job.seed,
    faults: chosenFaults(job.faults, scenario.options?.faults),
    without: job.without,
    ...(trace === undefined ? {} : { trace }),
  };
  try {
    return outcomeOf(job, await simulate(options, scenario.run));
  } catch (error) {
    if (error instanceof SimulationFailure) return outcomeOf(job, error.report, failureOf(error));
    const nothing = { seed: job.seed, hash: "", events: 0, virtualMs: 0, planned: 0, faults: [] };
    return outcomeOf(job, nothing, {
      kind: "error",
      rule: firstLineOf(error),
      lastEvents: [],
      details: inspect(error),
    });
  }
}

/** A scenario that narrows what the seed may draw is still drawn for by the word `swarm`. */
function chosenFaults(asked: FaultWord | undefined, own: SimulateOptions["faults"]): SimulateOptions["faults"] {
  if (asked === undefined) return own ?? "swarm";
  return asked === "swarm" && typeof own === "object" && "swarm" in own ? own : asked;
}

function outcomeOf(job: SeedJob, report: SimulationReport, failure?: SeedFailure): SeedOutcome {
  const { hash, events, virtualMs, planned, faults } = report;
  return { job, failure, hash, events, virtualMs, planned, faults };
}

function failureOf(error: SimulationFailure): SeedFailure {
  const [rule, ...more] = error.rule.split("\n") as [string, ...string[]];
  const details = [...more, ...(error.cause === undefined ? [] : [inspect(error.cause)])].join("\n");
  return { kind: "rule", rule, lastEvents: error.lastEvents, details };
}

function nonDeterminism(first: SeedOutcome, second: SeedOutcome, difference: string | undefined): SeedFailure {
  const where = difference ?? `the traces are alike, the hashes are ${first.hash} and ${second.hash}`;
  const failure = first.failure ?? second.failure;
  const ends = [first, second].map((outcome) => outcome.failure?.rule ?? "passed").join("; then: ");
  return {
    kind: "not deterministic",
    rule: `not deterministic: two runs of the seed differ at ${where}`,
    lastEvents: failure?.lastEvents ?? [],
    details: failure === undefined ? undefined : `The runs ended so: ${ends}`,
  };
}

function endedAlike(first: SeedOutcome, second: SeedOutcome): boolean {
  if (first.failure === undefined) return second.failure === undefined;
  return isSameFailure(first.failure, second.failure);
}

async function withTraceFile<Result>(
  job: SeedJob,
  run: (trace: ((line: TraceLine) => void) | undefined) => Promise<Result>,
): Promise<Result> {
  if (job.traceFile === undefined) return run(undefined);
  const file = openSync(job.traceFile, "w");
  try {
    // What a process logs is traced inside of its world, where files are not to be touched.
    return await run((line) => outsideWorlds(() => writeSync(file, lineOf(line))));
  } finally {
    closeSync(file);
  }
}

function isSameLine(one: TraceLine | undefined, other: TraceLine): boolean {
  return one !== undefined && one.atMs === other.atMs && one.text === other.text;
}

function shown(line: TraceLine | undefined): string {
  return line === undefined ? "(the run had ended)" : `${line.atMs} ${line.text}`;
}

function firstLineOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : inspect(error);
  return text.split("\n")[0]!;
}
