import type { FaultKind } from "../../src/simulation/index.ts";
import type { CampaignListener } from "./campaign.ts";
import type { SeedJob, SeedOutcome } from "./seed-job.ts";

/** A seed that takes longer is named where progress is shown. */
const LONG_MS = 10_000;

/** What the seeds of a campaign came to so far. */
export class Tally implements CampaignListener {
  passed = 0;
  virtualMs = 0;
  events = 0;
  readonly faults = new Map<FaultKind, number>();
  readonly failures: SeedOutcome[] = [];
  readonly leftOver: SeedJob[] = [];
  last: SeedOutcome | undefined;
  readonly #startedAt = Date.now();
  readonly #underWay = new Map<SeedJob, number>();
  readonly #failed: (outcome: SeedOutcome) => void;

  /** `failed` hears of each failure when it is found. */
  constructor(failed: (outcome: SeedOutcome) => void = () => {}) {
    this.#failed = failed;
  }

  began(job: SeedJob): void {
    this.#underWay.set(job, Date.now());
  }

  ended(outcome: SeedOutcome): void {
    this.#forget(outcome.job);
    this.last = outcome;
    this.virtualMs += outcome.virtualMs;
    this.events += outcome.events;
    for (const { kind } of outcome.faults) this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
    if (outcome.failure === undefined) {
      this.passed += 1;
    } else {
      this.failures.push(outcome);
      this.#failed(outcome);
    }
  }

  unfinished(job: SeedJob): void {
    this.#forget(job);
    this.leftOver.push(job);
  }

  get elapsedMs(): number {
    return Date.now() - this.#startedAt;
  }

  /** One line. */
  toString(): string {
    const seeds = this.passed + this.failures.length;
    const perSecond = (seeds / Math.max(0.001, this.elapsedMs / 1_000)).toFixed(1);
    const faults = [...this.faults]
      .sort(([, one], [, other]) => other - one)
      .map(([kind, count]) => `${kind} ${count}`);
    const struck = faults.length === 0 ? "no faults" : faults.join(", ");
    const failed = this.failures.length === 0 ? "" : `, ${this.failures.length} failed`;
    const long = [...this.#underWay]
      .map(([{ scenario, seed }, since]) => ({ scenario, seed, ms: Date.now() - since }))
      .filter(({ ms }) => ms > LONG_MS)
      .map(({ scenario, seed, ms }) => `; seed ${seed} of ${scenario} for ${durationOf(ms)}`);
    return `${seeds} seeds${failed}, ${perSecond}/s, ${durationOf(this.virtualMs)} of virtual time, ${struck}${long.join("")}`;
  }

  /** A job comes back as a copy. */
  #forget({ scenario, seed }: SeedJob): void {
    for (const job of this.#underWay.keys()) {
      if (job.scenario === scenario && job.seed === seed) this.#underWay.delete(job);
    }
  }
}

/** `90,000` ms are `1.5 min`. */
export function durationOf(ms: number): string {
  const units = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
  ] as const;
  for (const [unit, unitMs] of units) if (ms >= unitMs) return `${(ms / unitMs).toFixed(1)} ${unit}`;
  return `${(ms / 1_000).toFixed(1)} s`;
}
