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

export type CampaignListener = (outcome: SeedOutcome) => void;

/** Runs the seeds of all scenarios in turn, so that each gets its share of the time. Resolves when the last that was begun has ended. */
export async function runCampaign(
  campaign: Campaign,
  host: SeedHost,
  listener: CampaignListener,
  signal?: AbortSignal,
): Promise<void> {
  const jobs = jobsOf(campaign);
  const endsAt = Date.now() + (campaign.timeMs ?? Number.POSITIVE_INFINITY);
  let stopped = false;
  const workers = Array.from(
    { length: campaign.jobs },
    () => new SeedWorker(host, campaign.seedTimeoutMs, campaign.echo),
  );
  const close = () => {
    stopped = true;
    for (const worker of workers) worker.close();
  };
  signal?.addEventListener("abort", close, { once: true });
  // Also when the program ends in another way: a child that loops would not notice.
  process.once("exit", close);
  try {
    await Promise.all(
      workers.map(async (worker) => {
        while (!stopped && Date.now() < endsAt) {
          const next = jobs.next();
          if (next.done) return;
          const outcome = await worker.run(next.value);
          if (signal?.aborted) return;
          listener(outcome);
          if (outcome.failure !== undefined && campaign.bail) stopped = true;
        }
      }),
    );
  } finally {
    close();
    process.off("exit", close);
    signal?.removeEventListener("abort", close);
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
