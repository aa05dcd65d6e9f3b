import type { FaultWord } from "./options.ts";
import type { SeedJob, SeedOutcome } from "./seed-job.ts";
import { type SeedHost, SeedWorker } from "./seed-worker.ts";

export interface Campaign {
  readonly scenarios: readonly string[];
  readonly from: number;
  /** For each scenario; as many as the time allows when left out. */
  readonly seedsMax?: number | undefined;
  readonly timeMs?: number | undefined;
  readonly jobs: number;
  readonly faults?: FaultWord | undefined;
  readonly without?: readonly number[] | undefined;
  /** Each so manyth seed runs twice; 0: none. */
  readonly twiceEvery: number;
  readonly seedTimeoutMs: number;
  /** Stops at the first failure. */
  readonly bail: boolean;
  readonly traceFile?: string | undefined;
  /** Prints what the seeds print. */
  readonly echo?: boolean | undefined;
}

export interface CampaignListener {
  began?(job: SeedJob): void;
  ended(outcome: SeedOutcome): void;
  /** The time was over before the seed was; nothing is known of it. */
  unfinished?(job: SeedJob): void;
}

/** How long seeds that were begun in time may take beyond it. */
const GRACE_MS = 20_000;

/** Runs the seeds of all scenarios in turn, so that each gets its share of the time. Resolves when none is under way any more. */
export async function runCampaign(
  campaign: Campaign,
  host: SeedHost,
  listener: CampaignListener,
  signal?: AbortSignal,
): Promise<void> {
  const jobs = jobsOf(campaign);
  const timeMs = campaign.timeMs ?? Number.POSITIVE_INFINITY;
  const endsAt = Date.now() + timeMs;
  const workers = Array.from(
    { length: campaign.jobs },
    () => new SeedWorker(host, campaign.seedTimeoutMs, campaign.echo),
  );
  let stopped = false;
  let overdue = false;
  const close = () => {
    stopped = true;
    for (const worker of workers) worker.close();
  };
  const end = () => {
    overdue = true;
    close();
  };
  const work = async (worker: SeedWorker): Promise<void> => {
    while (!stopped && Date.now() < endsAt) {
      const next = jobs.next();
      if (next.done) return;
      listener.began?.(next.value);
      const outcome = await worker.run(next.value);
      if (overdue) return listener.unfinished?.(next.value);
      listener.ended(outcome);
      if (outcome.failure !== undefined && campaign.bail) stopped = true;
    }
  };
  const timer = Number.isFinite(timeMs) ? setTimeout(end, timeMs + GRACE_MS) : undefined;
  signal?.addEventListener("abort", end, { once: true });
  // Also when the program ends in another way: a child that loops would not notice.
  process.once("exit", close);
  try {
    await Promise.all(workers.map(work));
  } catch (error) {
    // What the others were at is not told as a failure.
    overdue = true;
    throw error;
  } finally {
    clearTimeout(timer);
    close();
    process.off("exit", close);
    signal?.removeEventListener("abort", end);
  }
}

function* jobsOf(campaign: Campaign): Generator<SeedJob, undefined> {
  const { scenarios, from, seedsMax, faults, without, twiceEvery, traceFile } = campaign;
  for (let index = 0; index < (seedsMax ?? Number.POSITIVE_INFINITY); index++) {
    const twice = traceFile === undefined && twiceEvery > 0 && index % twiceEvery === 0;
    for (const scenario of scenarios) {
      yield { scenario, seed: from + index, faults, without: without ?? [], twice, traceFile };
    }
  }
}
