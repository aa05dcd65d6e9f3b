import type { StruckFault, TraceLine } from "../../src/simulation/index.ts";
import { textOf } from "./fault-numbers.ts";
import type { FaultWord } from "./options.ts";
import type { SeedFailure, SeedJob, SeedOutcome } from "./seed-job.ts";
import type { Shrunk } from "./shrinking.ts";
import { instantOf } from "./timeline.ts";

/** What was found out about a failed seed. */
export interface Investigation {
  readonly outcome: SeedOutcome;
  /** Whether it failed alike when it was run again, alone in a new process; `undefined`: it was not. */
  readonly again: boolean | undefined;
  readonly shrunk: Shrunk | undefined;
  readonly commit: string;
}

const LAST_EVENTS_SHOWN = 20;
const DETAIL_LINES_SHOWN = 25;

/** All that a person needs to know about a failure, and to make it happen again. */
export function reportOf(investigation: Investigation): string {
  const { outcome, again, shrunk, commit } = investigation;
  const failure = outcome.failure as SeedFailure;
  const smallest = shrunk?.outcome ?? outcome;
  const lines = [
    `seed ${outcome.job.seed} of ${outcome.job.scenario} failed: ${failure.rule}`,
    `  code     ${commit}, Node ${process.versions.node}`,
    `  options  ${optionsOf(outcome.job)}`,
  ];
  if (outcome.events > 0) {
    lines.push(
      `  run      ${instantOf(outcome.virtualMs)} ms of virtual time, ${outcome.events} events, hash ${outcome.hash}`,
    );
  }
  if (again === false) {
    lines.push(
      "  again    it did not fail so when it was run alone: something of an earlier seed was left behind, or is not simulated",
    );
  }
  lines.push(...eventLines(smallest.failure?.lastEvents ?? [], shrunk !== undefined && shrunk.runs > 0));
  lines.push(...detailLines(failure.details));
  lines.push(...faultLines(outcome, shrunk));
  lines.push(`  replay   ${replayCommand(smallest.job, failure)}`);
  return lines.join("\n");
}

/** The one command that makes it happen again. */
export function replayCommand(job: SeedJob, failure: SeedFailure): string {
  const faults = job.faults === undefined ? "" : ` --faults ${job.faults}`;
  const without = job.without.length === 0 ? "" : ` --without ${textOf(job.without)}`;
  const twice = failure.kind === "not deterministic" ? " --twice-every 1" : "";
  return `npm run simulate -- --scenario ${job.scenario} --seeds 1 --from ${job.seed}${faults}${without}${twice}`;
}

function optionsOf(job: SeedJob): string {
  const faults = `faults ${(job.faults satisfies FaultWord | undefined) ?? "as the scenario says"}`;
  return job.without.length === 0 ? faults : `${faults}, without ${textOf(job.without)}`;
}

function eventLines(events: readonly TraceLine[], shrunk: boolean): string[] {
  if (events.length === 0) return [];
  const shown = events.slice(-LAST_EVENTS_SHOWN);
  const head = `  last events${shrunk ? ", of the smallest run that fails" : ""}`;
  return [head, ...shown.map(({ atMs, text }) => `    ${instantOf(atMs).padStart(14)}  ${text}`)];
}

function detailLines(details: string | undefined): string[] {
  if (details === undefined || details.trim() === "") return [];
  const lines = details.trimEnd().split("\n");
  const shown = lines.slice(0, DETAIL_LINES_SHOWN);
  if (lines.length > shown.length) shown.push(`… ${lines.length - shown.length} lines more`);
  return ["  details", ...shown.map((line) => `    ${line}`)];
}

function faultLines({ planned, faults: struck }: SeedOutcome, shrunk: Shrunk | undefined): string[] {
  if (shrunk === undefined) {
    return struck.length === 0
      ? []
      : [`  ${counted(planned)} planned, ${struck.length} struck:`, ...struck.map(faultLine)];
  }
  const needed = shrunk.outcome.faults;
  const end = shrunk.minimal ? "" : `, at most: the search ended after ${shrunk.runs} runs`;
  const head = `  ${counted(planned)} planned, ${struck.length} struck, ${needed.length} needed${end}`;
  return needed.length === 0 ? [head] : [`${head}:`, ...needed.map(faultLine)];
}

function faultLine({ number, atMs, text }: StruckFault): string {
  return `    ${`${number}`.padStart(4)}  ${instantOf(atMs).padStart(14)}  ${text}`;
}

function counted(faults: number): string {
  return faults === 1 ? "1 fault" : `${faults} faults`;
}
