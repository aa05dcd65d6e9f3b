import { isSameFailure, type SeedFailure, type SeedOutcome } from "./seed-job.ts";

export interface ShrinkLimits {
  readonly runsMax: number;
  readonly timeMs: number;
}

export interface Shrunk {
  /** The smallest run found that fails alike. */
  readonly outcome: SeedOutcome;
  /** How many runs it took. */
  readonly runs: number;
  /** Nothing more can be left out, one by one. `false`: the limits ended the search. */
  readonly minimal: boolean;
}

type RunWithout = (without: readonly number[]) => Promise<SeedOutcome>;

/**
 * Leaves faults out of a failing run as long as the same rule fails: all of them, halves, quarters, and at last one by one. What was planned but struck nothing
 * is left out too: it took no part, and must take none where the run becomes longer.
 */
export async function shrink(failing: SeedOutcome, run: RunWithout, limits: ShrinkLimits): Promise<Shrunk> {
  const search = new Search(failing, run, limits);
  let minimal = false;
  for (let size = search.numbers.length; size > 0 && !minimal; ) {
    const found = await search.pass(size);
    if (found === "exhausted") return { outcome: search.smallest, runs: search.runs, minimal: false };
    minimal = size === 1 && found === "nothing";
    size = Math.min(Math.max(1, Math.floor(size / 2)), search.numbers.length);
  }
  return { outcome: search.smallest, runs: search.runs, minimal: true };
}

class Search {
  smallest: SeedOutcome;
  runs = 0;
  readonly #failure: SeedFailure;
  readonly #run: RunWithout;
  readonly #runsMax: number;
  readonly #endsAt: number;

  constructor(failing: SeedOutcome, run: RunWithout, limits: ShrinkLimits) {
    this.smallest = failing;
    this.#failure = failing.failure as SeedFailure;
    this.#run = run;
    this.#runsMax = limits.runsMax;
    this.#endsAt = Date.now() + limits.timeMs;
  }

  /** Of the faults that struck in the smallest run. */
  get numbers(): readonly number[] {
    return [...new Set(this.smallest.faults.map((fault) => fault.number))];
  }

  /** Tries to do without each group of so many neighbours. */
  async pass(size: number): Promise<"something" | "nothing" | "exhausted"> {
    let removed = false;
    for (let index = 0; index < this.numbers.length; ) {
      if (this.runs >= this.#runsMax || Date.now() >= this.#endsAt) return "exhausted";
      if (await this.#failsWithout(this.numbers.slice(index, index + size))) removed = true;
      else index += size;
    }
    return removed ? "something" : "nothing";
  }

  async #failsWithout(numbers: readonly number[]): Promise<boolean> {
    this.runs += 1;
    const kept = new Set(this.numbers);
    for (const number of numbers) kept.delete(number);
    const planned = Array.from({ length: this.smallest.planned }, (_, number) => number);
    const outcome = await this.#run(planned.filter((number) => !kept.has(number)));
    if (!isSameFailure(this.#failure, outcome.failure)) return false;
    this.smallest = outcome;
    return true;
  }
}
