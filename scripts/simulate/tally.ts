import type { FaultKind } from "../../src/simulation/index.ts";
import type { SeedOutcome } from "./seed-job.ts";

/** What the seeds of a campaign came to so far. */
export class Tally {
  passed = 0;
  failed = 0;
  virtualMs = 0;
  events = 0;
  readonly faults = new Map<FaultKind, number>();
  last: SeedOutcome | undefined;
  readonly #startedAt = Date.now();

  add(outcome: SeedOutcome): void {
    this.last = outcome;
    if (outcome.failure === undefined) this.passed += 1;
    else this.failed += 1;
    this.virtualMs += outcome.virtualMs;
    this.events += outcome.events;
    for (const { kind } of outcome.faults) this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1);
  }

  get seeds(): number {
    return this.passed + this.failed;
  }

  get elapsedMs(): number {
    return Date.now() - this.#startedAt;
  }

  /** One line. */
  toString(): string {
    const perSecond = (this.seeds / Math.max(0.001, this.elapsedMs / 1_000)).toFixed(1);
    const faults = [...this.faults]
      .sort(([, one], [, other]) => other - one)
      .map(([kind, count]) => `${kind} ${count}`);
    const struck = faults.length === 0 ? "no faults" : faults.join(", ");
    const failed = this.failed === 0 ? "" : `, ${this.failed} failed`;
    return `${this.seeds} seeds${failed}, ${perSecond}/s, ${durationOf(this.virtualMs)} of virtual time, ${struck}`;
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
