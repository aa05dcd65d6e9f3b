import type { StruckFault, TraceLine } from "../../src/simulation/index.ts";
import type { FaultWord } from "./options.ts";

/** One seed of one scenario, as a child process is asked to run it. */
export interface SeedJob {
  readonly scenario: string;
  readonly seed: number;
  /** What befalls the run; what the scenario says when left out. */
  readonly faults?: FaultWord | undefined;
  /** The planned faults that are left out. */
  readonly without: readonly number[];
  /** Runs it a second time, which must go the same way. */
  readonly twice: boolean;
  /** Where every line of the run is written as it happens, so that it is there even when the process never ends the run. */
  readonly traceFile?: string | undefined;
}

/**
 * `"rule"`: a rule was violated. `"not deterministic"`: two runs differed. `"silent"`: no event happened for too long. `"died"`: the process ended in
 * the middle of the run. `"error"`: the scenario or the simulator threw something else.
 */
export type FailureKind = "rule" | "not deterministic" | "silent" | "died" | "error";

export interface SeedFailure {
  readonly kind: FailureKind;
  /** What is wrong, in one sentence. */
  readonly rule: string;
  /** Empty when the process could not tell any more. */
  readonly lastEvents: readonly TraceLine[];
  /** Where in the code, as far as it is known. */
  readonly details?: string | undefined;
}

export interface SeedOutcome {
  readonly job: SeedJob;
  readonly failure?: SeedFailure | undefined;
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  /** How many faults the seed planned; they have the numbers below it. */
  readonly planned: number;
  readonly faults: readonly StruckFault[];
}

/** What a child process says to its parent. */
export type ChildMessage =
  | { readonly type: "alive" }
  | { readonly type: "done"; readonly outcome: SeedOutcome }
  | { readonly type: "not loaded"; readonly error: string };

/** There is no scenario to run in its file: nothing that a seed decides. */
export class ScenarioError extends Error {
  override readonly name = "ScenarioError";
}

/** The same thing went wrong: numbers, what is quoted, and what stands behind the first sentence may differ. */
export function isSameFailure(one: SeedFailure, other: SeedFailure | undefined): boolean {
  return other !== undefined && one.kind === other.kind && patternOf(one.rule) === patternOf(other.rule);
}

function patternOf(rule: string): string {
  return rule
    .split(". ")[0]!
    .replaceAll(/"[^"]*"|`[^`]*`/g, "…")
    .replaceAll(/[0-9a-f]*\d[0-9a-f]*/g, "#");
}
