import { randomInt } from "node:crypto";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Campaign, runCampaign } from "./campaign.ts";
import { type Investigation, replayCommand, reportOf } from "./failure-report.ts";
import { textOf } from "./fault-numbers.ts";
import { investigate } from "./investigation.ts";
import { type SimulateCommand, UsageError } from "./options.ts";
import { Progress } from "./progress.ts";
import { isSameFailure, type SeedOutcome } from "./seed-job.ts";
import type { SeedHost } from "./seed-worker.ts";
import { Tally } from "./tally.ts";
import { timelineOf } from "./timeline.ts";
import { readTrace } from "./trace-file.ts";

/** The exit code; a seed that was looked into may still run. */
export const ENDED_BY_SIGNAL = 130;

/** Beyond it failures are counted and named, but not looked into. */
const INVESTIGATED_MAX = 5;
/** For all of them together; each gets something. */
const SHRINKING_MS = 60_000;
const SHRINKING_MS_MIN = 5_000;
const SHRINKING_RUNS_MAX = 200;

/** Carries a command out, and answers the exit code. */
export async function simulateSeeds(command: SimulateCommand, host: SeedHost): Promise<number> {
  if (command.trace !== undefined && command.trace !== "-") checkWritable(command.trace);
  const from = command.from === "random" ? randomInt(2 ** 31) : command.from;
  if (command.from === "random" && !command.json) console.log(`seeds from ${from}`);
  const directory = command.trace === undefined ? undefined : mkdtempSync(join(tmpdir(), "tenon-simulate-"));
  const traceFile = directory === undefined ? undefined : join(directory, "trace");
  const end = endedBySignals();
  try {
    const campaign = { ...command, from, traceFile, echo: command.seedsMax === 1 };
    const tally = await runAll(command, campaign, host, end);
    if (traceFile !== undefined) writeTimeline(command.trace as string, traceFile, tally.last);
    nameUnplanned(command.without, tally.last);
    const investigations = await lookInto(tally.failures, command, host, end);
    if (command.json) console.log(JSON.stringify(documentOf(from, tally, investigations, end.aborted), undefined, 2));
    else console.log(`${tally}\n${summaryOf(tally, end.aborted)}`);
    if (end.aborted) return ENDED_BY_SIGNAL;
    return tally.failures.length === 0 ? 0 : 1;
  } finally {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  }
}

async function runAll(command: SimulateCommand, campaign: Campaign, host: SeedHost, end: AbortSignal): Promise<Tally> {
  const tally = new Tally(({ job, failure }) => {
    progress.clear();
    if (!command.json) console.log(`seed ${job.seed} of ${job.scenario} failed: ${failure!.rule}`);
  });
  const progress = new Progress(tally, process.stderr);
  try {
    await runCampaign(campaign, host, tally, end);
  } finally {
    progress.end();
  }
  return tally;
}

/** Throws before a long run whose timeline could not be kept. */
function checkWritable(file: string): void {
  try {
    closeSync(openSync(file, "a"));
  } catch (error) {
    throw new UsageError(`--trace cannot write ${file}: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}

/** Numbers that leave nothing out are mistyped, or of another seed. */
function nameUnplanned(without: readonly number[], outcome: SeedOutcome | undefined): void {
  // A run without a hash did not come to its end; what it planned is not known.
  if (outcome === undefined || outcome.hash === "") return;
  const { planned } = outcome;
  const unplanned = without.filter((number) => number >= planned);
  if (unplanned.length === 0) return;
  const plan = planned === 0 ? "no faults" : `${planned} faults, from 0 to ${planned - 1}`;
  console.error(`simulate: --without ${textOf(unplanned)} leaves nothing out: the seed plans ${plan}`);
}

function summaryOf({ passed, failures, leftOver }: Tally, interrupted: boolean): string {
  const named = leftOver.map(({ scenario, seed }) => `seed ${seed} of ${scenario}`).join(", ");
  const when = interrupted ? "" : " when the time was over";
  const unfinished = leftOver.length === 0 ? "" : `, ${leftOver.length} unfinished${when}: ${named}`;
  return `${passed} passed, ${failures.length} failed${interrupted ? ", interrupted" : ""}${unfinished}`;
}

/** Looks into the first failure of each rule of each scenario; the others are named with their commands. */
async function lookInto(
  failures: readonly SeedOutcome[],
  command: SimulateCommand,
  host: SeedHost,
  end: AbortSignal,
): Promise<readonly Investigation[]> {
  const investigations: Investigation[] = [];
  const shrinkingEndsAt = Date.now() + SHRINKING_MS;
  for (const outcome of failures) {
    if (end.aborted) break;
    const { job, failure } = outcome;
    const known = investigations.some(
      ({ outcome: other }) =>
        other.job.scenario === job.scenario && failure !== undefined && isSameFailure(failure, other.failure),
    );
    if (known || investigations.length === INVESTIGATED_MAX) {
      if (!command.json) console.log(`\nalso seed ${job.seed}: ${replayCommand(job, failure!)}`);
      continue;
    }
    const timeMs = Math.max(SHRINKING_MS_MIN, shrinkingEndsAt - Date.now());
    const limits = command.shrink ? { runsMax: SHRINKING_RUNS_MAX, timeMs } : undefined;
    const settings = { seedTimeoutMs: command.seedTimeoutMs, shrink: limits };
    const investigation = await Promise.race([investigate(outcome, host, settings), aborted(end)]);
    if (investigation === undefined) break;
    investigations.push(investigation);
    if (!command.json) console.log(`\n${reportOf(investigation)}\n`);
  }
  return investigations;
}

function writeTimeline(target: string, traceFile: string, outcome: SeedOutcome | undefined): void {
  const text = `${[...timelineOf(readTrace(traceFile), outcome?.faults ?? [])].join("\n")}\n`;
  if (target === "-") process.stdout.write(text);
  else writeFileSync(target, text);
}

function documentOf(from: number, tally: Tally, investigations: readonly Investigation[], interrupted: boolean) {
  return {
    from,
    passed: tally.passed,
    failed: tally.failures.length,
    interrupted,
    unfinished: tally.leftOver.map(({ scenario, seed }) => ({ scenario, seed })),
    elapsedMs: tally.elapsedMs,
    virtualMs: tally.virtualMs,
    events: tally.events,
    faults: Object.fromEntries(tally.faults),
    failures: tally.failures.map(({ job, failure }) => ({
      scenario: job.scenario,
      seed: job.seed,
      kind: failure!.kind,
      rule: failure!.rule,
      replay: replayCommand(job, failure!),
    })),
    investigations: investigations.map(({ outcome, again, shrunk, commit }) => ({
      scenario: outcome.job.scenario,
      seed: outcome.job.seed,
      commit,
      again,
      struck: outcome.faults,
      needed: shrunk?.outcome.faults,
      lastEvents: (shrunk?.outcome ?? outcome).failure?.lastEvents,
      replay: replayCommand((shrunk?.outcome ?? outcome).job, outcome.failure!),
    })),
  };
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(undefined), { once: true }));
}

/** Children are ended, and what was found until then is told. */
function endedBySignals(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}
