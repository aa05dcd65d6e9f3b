import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commitOfCode } from "./commit.ts";
import type { Investigation } from "./failure-report.ts";
import { isSameFailure, type SeedFailure, type SeedJob, type SeedOutcome } from "./seed-job.ts";
import { type SeedHost, SeedWorker } from "./seed-worker.ts";
import { type ShrinkLimits, shrink } from "./shrinking.ts";
import { readTrace } from "./trace-file.ts";

export interface InvestigationSettings {
  readonly seedTimeoutMs: number;
  /** `undefined`: nothing is left out. */
  readonly shrink: ShrinkLimits | undefined;
}

const LAST_LINES = 20;

/** Runs a failed seed again, alone in a new process, and looks for the faults that it needs. */
export async function investigate(
  failed: SeedOutcome,
  host: SeedHost,
  settings: InvestigationSettings,
): Promise<Investigation> {
  const worker = new SeedWorker(host, settings.seedTimeoutMs);
  const close = () => worker.close();
  process.once("exit", close);
  try {
    const { outcome, again } = await runAgain(failed, worker);
    const shrinks = again && settings.shrink !== undefined && outcome.failure?.kind === "rule";
    const run = (without: readonly number[]) => worker.run({ ...failed.job, twice: false, without });
    const shrunk = shrinks ? await shrink(outcome, run, settings.shrink) : undefined;
    return { outcome, again, shrunk, commit: commitOfCode() };
  } finally {
    close();
    process.off("exit", close);
  }
}

/** What a process could not tell when it ended is read from the trace that it writes this time. */
async function runAgain(failed: SeedOutcome, worker: SeedWorker): Promise<{ outcome: SeedOutcome; again: boolean }> {
  const failure = failed.failure as SeedFailure;
  const mute = failure.kind === "silent" || failure.kind === "died";
  const directory = mute ? mkdtempSync(join(tmpdir(), "tenon-simulate-")) : undefined;
  try {
    const job: SeedJob = {
      ...failed.job,
      twice: failure.kind === "not deterministic",
      traceFile: directory === undefined ? undefined : join(directory, "trace"),
    };
    const second = await worker.run(job);
    const again = isSameFailure(failure, second.failure);
    if (!again || job.traceFile === undefined) return { outcome: failed, again };
    const lines = readTrace(job.traceFile);
    const last = lines.at(-1)?.atMs ?? 0;
    const told = { ...failure, lastEvents: lines.slice(-LAST_LINES) };
    return { outcome: { ...failed, failure: told, events: lines.length, virtualMs: last, hash: "unknown" }, again };
  } finally {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  }
}
